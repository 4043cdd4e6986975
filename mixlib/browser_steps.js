// The steps of a model, on matrices with a row a token: what mixlib.browser.program lists.

const matrix = (rows, columns, values = new Float32Array(rows * columns)) => ({ rows, columns, values })
const map = (x, change) => matrix(x.rows, x.columns, x.values.map(change))
const add = (a, b) => map(a, (value, i) => value + b.values[i])

function multiply(a, b) {
  const out = matrix(a.rows, b.columns)
  for (let row = 0; row < a.rows; row++) {
    const into = out.values.subarray(row * b.columns, (row + 1) * b.columns)
    for (let inner = 0; inner < a.columns; inner++) {
      const value = a.values[row * a.columns + inner]
      const start = inner * b.columns
      for (let column = 0; column < b.columns; column++) into[column] += value * b.values[start + column]
    }
  }
  return out
}

function transpose(x) {
  const out = matrix(x.columns, x.rows)
  for (let i = 0; i < x.values.length; i++) {
    out.values[(i % x.columns) * x.rows + Math.floor(i / x.columns)] = x.values[i]
  }
  return out
}

// Some columns of a matrix.
function columns(x, from, to) {
  const out = matrix(x.rows, to - from)
  for (let row = 0; row < x.rows; row++) {
    out.values.set(x.values.subarray(row * x.columns + from, row * x.columns + to), row * out.columns)
  }
  return out
}

function norm(x, { gamma, beta, epsilon }) {
  const out = matrix(x.rows, x.columns)
  for (let start = 0; start < x.values.length; start += x.columns) {
    const row = x.values.subarray(start, start + x.columns)
    const mean = row.reduce((sum, value) => sum + value, 0) / x.columns
    const variance = row.reduce((sum, value) => sum + (value - mean) ** 2, 0) / x.columns
    const scale = 1 / Math.sqrt(variance + epsilon)
    row.forEach((value, i) => {
      out.values[start + i] = (value - mean) * scale * gamma.values[i] + beta.values[i]
    })
  }
  return out
}

// The error function, to 2e-7: Abramowitz and Stegun, Handbook of mathematical functions, 7.1.26.
function erf(x) {
  const t = 1 / (1 + 0.3275911 * Math.abs(x))
  const sum = t * (0.254829592 + t * (-0.284496736 + t * (1.421413741 + t * (-1.453152027 + t * 1.061405429))))
  return Math.sign(x) * (1 - sum * Math.exp(-x * x))
}

const gelus = {
  exact: (x) => 0.5 * x * (1 + erf(x * Math.SQRT1_2)),
  tanh: (x) => 0.5 * x * (1 + Math.tanh(Math.sqrt(2 / Math.PI) * (x + 0.044715 * x ** 3))),
}

// Cosines, or sines, of the Fourier transform of so many values.
function waves(size, wave) {
  return map(matrix(size, size), (_, i) => {
    return wave((2 * Math.PI * ((Math.floor(i / size) * (i % size)) % size)) / size)
  })
}

const kinds = {
  scale: (x, { factors, offsets }) =>
    map(x, (value, i) => value * factors.values[i % factors.columns] + offsets.values[i % factors.columns]),
  patches(x, { size, channels }) {
    const across = x.columns / channels / size
    const out = matrix((x.rows / size) * across, size * size * channels)
    for (let i = 0; i < x.values.length; i++) {
      const row = Math.floor(i / x.columns)
      const column = Math.floor((i % x.columns) / channels)
      const token = Math.floor(row / size) * across + Math.floor(column / size)
      const inside = ((row % size) * size + (column % size)) * channels + (i % channels)
      out.values[token * out.columns + inside] = x.values[i]
    }
    return out
  },
  dense: (x, { kernel, bias }) => map(multiply(x, kernel), (value, i) => value + bias.values[i % bias.columns]),
  plus: (x, { values }) => add(x, values),
  norm,
  gelu: (x, { form }) => map(x, gelus[form]),
  transpose,
  gate(x, step) {
    const half = x.columns / 2
    const mixed = multiply(transpose(step.kernel), norm(columns(x, half, x.columns), step))
    return map(columns(x, 0, half), (value, i) => {
      return value * (mixed.values[i] + step.bias.values[Math.floor(i / half)])
    })
  },
  fourier(x, step) {
    const part = (wave) => multiply(multiply(waves(x.rows, wave), x), waves(x.columns, wave))
    const sines = part(Math.sin)
    const factor = step.norm === "ortho" ? 1 / Math.sqrt(x.rows * x.columns) : 1
    return map(part(Math.cos), (value, i) => factor * (value - sines.values[i]))
  },
  mean(x) {
    const out = matrix(1, x.columns)
    x.values.forEach((value, i) => (out.values[i % x.columns] += value / x.rows))
    return out
  },
}

// From an image, a row of it a row, to the scores, and to the tokens wherever they are to be shown.
function run(steps, image) {
  const kept = []
  const shown = []
  let x = image
  for (const step of steps) {
    if (step.step === "keep") kept.push(x)
    else if (step.step === "add") x = add(kept.pop(), x)
    else if (step.step === "show") shown.push({ name: step.name, tokens: x })
    else x = kinds[step.step](x, step)
  }
  return { scores: x.values, shown }
}
