// Names that the theme gets wrong: this button says more than "Search", and these folds say nothing.
document.addEventListener("DOMContentLoaded", () => {
  document.querySelectorAll(".search-button-field").forEach((button) => button.removeAttribute("aria-label"))
  document.querySelectorAll(".bd-sidebar-primary summary").forEach((fold) => {
    fold.ariaLabel = `Pages of ${fold.closest("li").querySelector("a").textContent.trim()}`
  })
})

// On paper: the light theme, and every fold open. What a reader had set comes back afterwards.
// (A media query would tell of it when the browser has counted the pages already.)
const page = document.documentElement.dataset
let before = null
addEventListener("beforeprint", () => {
  const folded = [...document.querySelectorAll("details:not([open])")]
  before = { theme: page.theme, folded }
  page.theme = "light"
  folded.forEach((fold) => (fold.open = true))
})
addEventListener("afterprint", () => {
  page.theme = before.theme
  before.folded.forEach((fold) => (fold.open = false))
})
