"use strict";
// Keys do what the element that names them does: links are followed, buttons pressed, fields entered. Without this script all of it is a click.
const keyed = (key) => document.querySelector(`[data-key="${CSS.escape(key)}"]`);
const isField = (element) => element.matches("input:not([type=checkbox]), textarea, select");

document.addEventListener("keydown", (event) => {
  const field = isField(event.target);
  if (event.key === "Enter" && (event.ctrlKey || event.metaKey) && event.target.matches("textarea")) {
    event.target.form.querySelector("[data-save]")?.click();
  } else if (event.key === "Escape" && field && !keyed("Escape")) {
    event.target.blur();
  }
  if ((field && event.key !== "Escape") || event.ctrlKey || event.metaKey || event.altKey || event.repeat) return;
  const found = keyed(event.key);
  if (found) {
    event.preventDefault();
    if (isField(found)) {
      found.focus();
      found.select();
    } else found.click();
  } else if (event.key === "j" || event.key === "k") move(event.key === "j" ? 1 : -1);
});

function move(step) {
  const links = [...document.querySelectorAll("[data-rows] a.open")];
  const at = links.indexOf(document.activeElement);
  links[Math.min(Math.max(at + step, 0), links.length - 1)]?.focus();
}

for (const form of document.querySelectorAll("form[data-auto]")) form.addEventListener("change", () => form.requestSubmit());
for (const form of document.querySelectorAll("form.search")) {
  form.addEventListener("formdata", (event) => {
    for (const [name, value] of [...event.formData]) if (value === "") event.formData.delete(name);
  });
}
// a form is sent once: a second press of a key must not decide on the next conversation
for (const form of document.querySelectorAll('form[method="post"]')) {
  form.addEventListener("submit", (event) => (form.dataset.sent ? event.preventDefault() : (form.dataset.sent = "1")));
}
addEventListener("pageshow", () => document.querySelectorAll("form[data-sent]").forEach((form) => delete form.dataset.sent));
document.documentElement.classList.add("js");
