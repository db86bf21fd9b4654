// What the pages add where JavaScript runs. Each of them works without this file.
"use strict";

// Times come from the server in UTC. They are shown in the reader's zone and
// language; lang tells a screen reader which language that is.
function localiseTimes(root) {
  const format = new Intl.DateTimeFormat(navigator.languages, { dateStyle: "medium", timeStyle: "short" });
  const { locale, timeZone } = format.resolvedOptions();
  for (const time of root.querySelectorAll("time[datetime]:not([data-local])")) {
    const date = new Date(time.dateTime);
    if (isNaN(date)) continue;
    time.textContent = format.format(date);
    time.title = timeZone;
    time.lang = locale;
    time.dataset.local = "";
  }
}

// How long is left is the server's word when the page comes; from there this clock counts,
// which may be wrong about the time but not about how it passes.
const arrived = Date.now();

function inWords(seconds) {
  const units = [[86400, "day"], [3600, "hour"], [60, "minute"]];
  const [size, unit] = units.find(([size]) => 2 * seconds > 3 * size) ?? [1, "second"];
  const format = new Intl.NumberFormat("en", { style: "unit", unit, unitDisplay: "long" });
  return format.format(Math.round(seconds / size));
}

function countDown() {
  for (const element of document.querySelectorAll("[data-seconds]")) {
    const left = Math.round(element.dataset.seconds - (Date.now() - arrived) / 1000);
    const text = left > 0 ? "in " + inWords(left) : "now";
    if (element.textContent !== text) element.textContent = text;
  }
}

// Buttons that only a script can serve are hidden until there is one.
function offerCopies(root) {
  for (const button of root.querySelectorAll("[data-copy]")) button.hidden = !navigator.clipboard;
}

document.addEventListener("click", async ({ target }) => {
  const button = target.closest("[data-copy]");
  if (!button) return;
  const copied = await navigator.clipboard.writeText(document.getElementById(button.dataset.copy).textContent).then(() => true, () => false);
  const text = copied ? button.dataset.done : "Not copied";
  announce(text);
  const label = button.textContent;
  if (label !== text) setTimeout(() => (button.textContent = label), 2000);
  button.textContent = text;
});

// A picture that cannot be shown makes way for the initials beneath it.
function dropBrokenPictures(root) {
  for (const picture of root.querySelectorAll(".avatar img")) picture.decode().catch(() => picture.remove());
}

// Says a sentence to screen readers. The region is emptied first, so that the
// same sentence is said again.
function announce(text) {
  const region = document.getElementById("announcer");
  if (!region || !text) return;
  region.textContent = "";
  setTimeout(() => (region.textContent = text), 100);
}

// A page that the browser kept in memory may belong to a session that has ended.
// Asking the server again is the only way to know.
addEventListener("pageshow", (event) => {
  if (event.persisted) location.reload();
});

// One press, one request. The mark wears off, for the case that the browser never
// gets to the next page. Forms that htmx sends have been taken by htmx already.
document.addEventListener("submit", (event) => {
  const form = event.target;
  if (event.defaultPrevented) return;
  if (form.ariaBusy === "true") return event.preventDefault();
  form.ariaBusy = "true";
  setTimeout(() => (form.ariaBusy = null), 8000);
});

// A form that htmx sends is busy too. It may be gone when its answer has come; the
// event then comes from the document.
document.addEventListener("htmx:before:request", ({ target }) => (target.ariaBusy = "true"));
document.addEventListener("htmx:finally:request", ({ target }) => (target.ariaBusy = null));

// htmx gives the focus back to an element that has the same id after a swap. Where
// the pressed button is gone, the focus goes to the first button of what replaced it.
function keepFocus(content) {
  if (document.activeElement === document.body) content.querySelector("button")?.focus({ preventScroll: true });
}

document.addEventListener("htmx:after:swap", ({ detail: { ctx } }) => {
  const content = ctx.sourceElement;
  localiseTimes(document);
  offerCopies(document);
  dropBrokenPictures(content);
  announce(content.dataset.announce);
  keepFocus(content);
});

// No answer came: the card says so, keeps what it shows and offers to try again.
// The words are the server's, in a template inside the card.
document.addEventListener("htmx:error", ({ detail: { ctx } }) => {
  const card = ctx?.sourceElement?.closest(".card");
  const template = card?.querySelector("template");
  if (!template) return;
  card.querySelector("[data-message]").replaceChildren(template.content.cloneNode(true));
  keepFocus(card);
});

// A task each, so that a press is answered in between: the first format of a date alone
// takes a slow telephone a tenth of a second.
for (const improve of [offerCopies, dropBrokenPictures, localiseTimes]) setTimeout(improve, 0, document);
setInterval(countDown, 1000);
