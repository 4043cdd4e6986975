// The page around the steps: a picture that can be changed, and what follows from a change.

const root = document.querySelector(".mixlib-explorer:not([data-ready])")
root.dataset.ready = ""
const content = JSON.parse(root.querySelector("script[type='application/json']").textContent)
const [height, width, channels] = content.shape

function bytes(text) {
  return Uint8Array.from(atob(text), (character) => character.charCodeAt(0))
}

// Matrices travel as whole numbers with a scale a column, vectors as they are.
const integers = new Int8Array(bytes(content.integers).buffer)
const floats = new Float32Array(bytes(content.floats).buffer)
function unpacked(value) {
  if (!value.shape) return value
  if (value.shape.length === 1) return matrix(1, value.shape[0], floats.slice(value.at, value.at + value.shape[0]))
  const [rows, columns] = value.shape
  return map(matrix(rows, columns), (_, i) => integers[value.at + i] * floats[value.scalesAt + (i % columns)])
}
const steps = content.steps.map((step) => {
  return Object.fromEntries(Object.entries(step).map(([key, value]) => [key, unpacked(value)]))
})
const { factors, offsets } = steps.find(({ step }) => step === "scale")
const patches = steps.find(({ step }) => step === "patches")
patches.channels = channels
const size = patches.size
const [down, across] = [height / size, width / size]
// What a patch that was taken away shows: the colour that the model sees as zero.
const neutral = factors.values.map((factor, i) => Math.min(255, Math.max(0, -offsets.values[i] / factor)))

// Shares of the classes, and the tokens before and after the blocks, for an image's bytes.
function classify(image) {
  const { scores, shown } = run(steps, matrix(height, width * channels, Float32Array.from(image)))
  const top = Math.max(...scores)
  const powers = scores.map((score) => Math.exp(score - top))
  const sum = powers.reduce((a, b) => a + b)
  return { shares: powers.map((power) => power / sum), scores, shown }
}
root.classify = classify

function make(name, attributes = {}, ...children) {
  const element = document.createElement(name)
  for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, value)
  element.append(...children)
  return element
}

const choice = make("select", {}, ...Object.keys(content.pictures).map((name) => make("option", {}, name)))
const file = make("input", { type: "file", accept: "image/*" })
const group = `tool-${Math.random()}`
const tool = (value) => make("input", { type: "radio", name: group, value })
const [removing, painting] = [tool("remove"), tool("paint")]
removing.checked = true
const colour = make("input", { type: "color", value: "#e69f00", "aria-label": "Colour to paint in" })
const restart = make("button", { type: "button" }, "Undo all")
const canvas = make("canvas", {
  class: "picture",
  width: 8 * width,
  height: 8 * height,
  tabindex: 0,
  role: "application",
  "aria-label": "The picture. Arrow keys choose a patch. Enter or Space takes it away, brings it back, or paints it.",
})
const body = make("tbody")
const summary = make("p", { "aria-live": "polite" })
const answers = make("table", { "aria-label": "Most probable classes" }, body)
const maps = make("div", { class: "maps" })
root.append(
  make(
    "div",
    {},
    make("label", {}, "Picture: ", choice),
    make("label", {}, "Your own: ", file),
    make(
      "fieldset",
      {},
      make("label", {}, removing, " take patches away"),
      make("label", {}, painting, " paint"),
      colour,
    ),
    restart,
  ),
  make("div", { class: "inputs" }, canvas, make("div", { class: "answers" }, answers, summary)),
  maps,
)

let original, edited, before, chosen

function begin(image) {
  original = image
  edited = original.slice()
  before = classify(original)
  chosen = Math.floor(down / 2) * across + Math.floor(across / 2) - 1
  update()
}

// Calls change(offset of a pixel) for each pixel of a patch.
function pixels(patch, change) {
  const [top, left] = [Math.floor(patch / across) * size, (patch % across) * size]
  for (let row = top; row < top + size; row++) {
    for (let column = left; column < left + size; column++) change((row * width + column) * channels)
  }
}

function isChanged(patch) {
  let changed = false
  pixels(patch, (at) => {
    for (let c = 0; c < channels; c++) changed ||= edited[at + c] !== original[at + c]
  })
  return changed
}

function toggle(patch) {
  const changed = isChanged(patch)
  pixels(patch, (at) => {
    for (let c = 0; c < channels; c++) edited[at + c] = changed ? original[at + c] : Math.round(neutral[c])
  })
  update()
}

function fill(at) {
  const values = [1, 3, 5].map((digit) => parseInt(colour.value.slice(digit, digit + 2), 16))
  for (let c = 0; c < channels; c++) edited[at + c] = values[c % 3]
}

// Paints a line, two pixels wide: of a quick pointer only a few places are told.
function paint([fromRow, fromColumn], [toRow, toColumn]) {
  const moves = Math.max(1, Math.abs(toRow - fromRow), Math.abs(toColumn - fromColumn))
  for (let move = 0; move <= moves; move++) {
    const row = Math.round(fromRow + ((toRow - fromRow) * move) / moves)
    const column = Math.round(fromColumn + ((toColumn - fromColumn) * move) / moves)
    for (let y = row; y < Math.min(row + 2, height); y++) {
      for (let x = column; x < Math.min(column + 2, width); x++) fill((y * width + x) * channels)
    }
  }
  update()
}

// At most one computation waits: while the reader paints, pictures in between are left out.
let waiting = false
function update() {
  draw()
  if (waiting) return
  waiting = true
  setTimeout(() => {
    waiting = false
    const start = performance.now()
    const now = classify(edited)
    show(now, performance.now() - start)
  })
}

function draw() {
  const small = make("canvas", { width, height })
  const image = new ImageData(width, height)
  for (let i = 0; i < width * height; i++) {
    for (let c = 0; c < 3; c++) image.data[4 * i + c] = edited[i * channels + (c % channels)]
    image.data[4 * i + 3] = 255
  }
  small.getContext("2d").putImageData(image, 0, 0)
  const context = canvas.getContext("2d")
  context.imageSmoothingEnabled = false
  context.drawImage(small, 0, 0, canvas.width, canvas.height)
  context.strokeStyle = "#ffffff60"
  context.lineWidth = 1
  const side = 8 * size
  for (let x = side; x < canvas.width; x += side) context.strokeRect(x, -1, 0, canvas.height + 2)
  for (let y = side; y < canvas.height; y += side) context.strokeRect(-1, y, canvas.width + 2, 0)
  context.strokeStyle = "#e69f00"
  context.lineWidth = 3
  context.strokeRect((chosen % across) * side + 1, Math.floor(chosen / across) * side + 1, side - 2, side - 2)
}

const percent = (share) => `${(100 * share).toFixed(share < 0.0995 ? 1 : 0)}\u00a0%`
const first = (shares) => shares.indexOf(Math.max(...shares))
const named = (index) => content.classes[index].replaceAll("_", " ")

function show(now, milliseconds) {
  const order = Array.from(now.shares.keys()).sort((a, b) => now.shares[b] - now.shares[a])
  const bar = (index) => {
    const filled = make("i")
    const line = make("b", { title: `before: ${percent(before.shares[index])}` })
    filled.style.width = `${100 * now.shares[index]}%`
    line.style.width = `${100 * before.shares[index]}%`
    return make("div", { class: "bar" }, filled, line)
  }
  body.replaceChildren(
    ...order.slice(0, 5).map((index) =>
      make(
        "tr",
        {},
        make("th", { scope: "row" }, named(index)),
        make("td", {}, bar(index)),
        make("td", {}, percent(now.shares[index])),
      ),
    ),
  )
  const [was, is] = [first(before.shares), order[0]]
  summary.textContent =
    `Now ${named(is)}, ${percent(now.shares[is])}; before the change (the line in each bar) ` +
    `${named(was)}, ${percent(before.shares[was])}. Computed here, in ${milliseconds.toFixed(0)} ms.`
  const touched = Array.from({ length: down * across }, (_, patch) => isChanged(patch))
  const mapOf = ({ name, tokens }, i) => reach(name, before.shown[i].tokens, tokens, touched)
  maps.replaceChildren(...now.shown.map(mapOf))
}

// A map of how much each token has changed, and how much of it all lies in patches that were touched.
function reach(name, was, is, touched) {
  const changes = new Float32Array(is.rows)
  is.values.forEach((value, i) => (changes[Math.floor(i / is.columns)] += (value - was.values[i]) ** 2))
  const sum = changes.reduce((a, b) => a + b)
  const most = Math.max(...changes)
  const inside = changes.reduce((sum, change, patch) => sum + (touched[patch] ? change : 0), 0)
  const squares = make("div", { class: "map", "aria-hidden": "true" })
  squares.style.gridTemplateColumns = `repeat(${across}, 1fr)`
  squares.style.aspectRatio = `${across} / ${down}`
  changes.forEach((change) => {
    const cell = make("i")
    cell.style.opacity = most ? Math.sqrt(change / most) : 0
    squares.append(cell)
  })
  const share = sum ? `${percent(inside / sum)} inside` : "no change"
  return make("div", { class: "reach" }, squares, `${name}: ${share}`)
}

function place(event) {
  const box = canvas.getBoundingClientRect()
  const within = (value, end) => Math.min(end - 1, Math.max(0, Math.floor(value * end)))
  return [
    within((event.clientY - box.top) / box.height, height),
    within((event.clientX - box.left) / box.width, width),
  ]
}

let last // place of the pointer
function touch(event) {
  const [row, column] = place(event)
  chosen = Math.floor(row / size) * across + Math.floor(column / size)
  if (removing.checked) toggle(chosen)
  else paint(event.type === "pointerdown" ? [row, column] : last, [row, column])
  last = [row, column]
}

function press() {
  if (!painting.checked) return toggle(chosen)
  pixels(chosen, fill)
  update()
}

canvas.addEventListener("click", (event) => removing.checked && touch(event))
canvas.addEventListener("pointerdown", (event) => {
  if (removing.checked) return // a finger may scroll the page from here
  canvas.setPointerCapture(event.pointerId)
  touch(event)
})
canvas.addEventListener("pointermove", (event) => canvas.hasPointerCapture(event.pointerId) && touch(event))
canvas.addEventListener("keydown", (event) => {
  const move = { ArrowUp: -across, ArrowDown: across, ArrowLeft: -1, ArrowRight: 1 }[event.key]
  if (move) {
    chosen = (chosen + move + down * across) % (down * across)
    draw()
  } else if (event.key === "Enter" || event.key === " ") press()
  else return
  event.preventDefault()
})
choice.addEventListener("change", () => {
  file.value = ""
  begin(bytes(content.pictures[choice.value]))
})
restart.addEventListener("click", () => {
  edited = original.slice()
  update()
})
file.addEventListener("change", async () => {
  if (!file.files.length) return // the dialog was cancelled
  let picture
  try {
    picture = await createImageBitmap(file.files[0])
  } catch {
    summary.textContent = "This file can't be read as a picture. Choose a photo, as PNG or JPEG."
    return
  }
  choice.selectedIndex = -1 // so that each of them can be chosen again
  const side = Math.min(picture.width / width, picture.height / height)
  const context = make("canvas", { width, height }).getContext("2d")
  context.imageSmoothingQuality = "high"
  const [cut, high] = [side * width, side * height]
  const [left, top] = [(picture.width - cut) / 2, (picture.height - high) / 2]
  context.drawImage(picture, left, top, cut, high, 0, 0, width, height)
  const { data } = context.getImageData(0, 0, width, height)
  begin(Uint8Array.from({ length: width * height * channels }, (_, i) => data[4 * Math.floor(i / channels) + (i % channels)]))
})
begin(bytes(content.pictures[choice.value]))
toggle(chosen) // so that there is something to see
