// The page of a person's devices. It works without this file.
"use strict";

// A button with the id of a dialog opens it. Without this script, its form leads to a page that asks
// the same. The focus starts on the button that changes nothing.
document.addEventListener("click", (event) => {
  const dialog = document.getElementById(event.target.closest("[data-dialog]")?.dataset.dialog);
  if (!dialog) return;
  event.preventDefault();
  dialog.showModal();
  dialog.querySelector("[method=dialog] button").focus();
});

// When the device that has the focus leaves the list, the focus goes to the device that takes its
// place. This runs before app.js, which would focus the heading. A swap that begins while another one
// is under way does not find the focus any more, and must not forget the place.
let place = -1;
const devices = () => [...document.querySelectorAll(".device")];
document.addEventListener("htmx:before:swap", () => {
  const focused = devices().indexOf(document.activeElement.closest(".device"));
  if (focused >= 0) place = focused;
});
document.addEventListener("htmx:after:swap", () => {
  if (place >= 0 && document.activeElement === document.body) devices().at(Math.min(place, devices().length - 1)).focus({ preventScroll: true });
  place = -1;
});

// Replaces what has changed in the list. The focus, and what the card says about a failure, stay. While a
// form waits for its answer, the list is not replaced.
let missed = false;
async function showDevices(html) {
  const card = document.getElementById("sessions-card");
  if (card.querySelector("[aria-busy]")) return void (missed = true);
  await htmx.swap({ text: html, target: card, swap: "outerMorph", sourceElement: card });
  const said = card.querySelector("[data-now]");
  if (!said) return;
  announce((said.textContent = said.dataset.now));
  said.removeAttribute("data-now");
}

// session.js passes on what the event stream tells.
document.addEventListener("devices", ({ detail }) => showDevices(detail));

// The list has changed meanwhile, or the request got no response, but the server may have done what it asked
// for, and app.js has said so. The list is loaded as it is now.
document.addEventListener("htmx:finally:request", async ({ detail: { ctx } }) => {
  if (!missed && !ctx.status.startsWith("error")) return;
  missed = false;
  const answer = await fetch("/sessions", { headers: { "HX-Request": "true" } }).catch(() => null);
  if (answer?.ok) showDevices(await answer.text());
});
