"use strict";
// the page of a run that goes on: what changes comes by itself; with its end, or where other things can be done to it, the page is read again
const live = document.getElementById("live");
if (live.dataset.events) {
  const source = new EventSource(live.dataset.events);
  source.addEventListener("run", (event) => {
    live.innerHTML = event.data;
    if (live.querySelector(".state").textContent !== live.dataset.state) location.reload();
  });
  source.addEventListener("end", () => {
    source.close();
    location.reload();
  });
  addEventListener("pagehide", () => source.close());
}
