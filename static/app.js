// Enhances the pages. Each page works without this file.
"use strict";

// The language of the page, in the variety that the reader prefers: de-AT if the page is German.
const language = document.documentElement.lang;
const locale = navigator.languages.find((tag) => tag.split("-")[0] === language) ?? language;

// The server renders times in UTC. This shows them in the reader's time zone and format. A time that
// says how long ago it was keeps its text.
function localiseTimes(root) {
  const times = root.querySelectorAll("time[datetime]:not([data-local])");
  if (!times.length) return;
  const format = new Intl.DateTimeFormat(locale, { dateStyle: "medium", timeStyle: "short" });
  const { timeZone } = format.resolvedOptions();
  for (const time of times) {
    const date = new Date(time.dateTime);
    if (isNaN(date)) continue;
    time.dataset.local = "";
    if ("relative" in time.dataset) {
      time.title = format.format(date) + ", " + timeZone;
      continue;
    }
    time.textContent = format.format(date);
    time.title = timeZone;
  }
}

// The server says how many seconds are left when it renders the page. The page counts down from
// there, so a browser's clock that is wrong does no harm.
const arrived = Date.now();

// The largest unit that is not too coarse. The server has the same rule.
function rounded(seconds) {
  const units = [[86400, "day"], [3600, "hour"], [60, "minute"]];
  const [size, unit] = units.find(([size]) => 2 * seconds > 3 * size) ?? [1, "second"];
  return [Math.round(seconds / size), unit];
}

function inWords(seconds) {
  const [number, unit] = rounded(seconds);
  return new Intl.NumberFormat(locale, { style: "unit", unit, unitDisplay: "long" }).format(number);
}

function until(seconds) {
  if (seconds > 0) return new Intl.RelativeTimeFormat(locale).format(...rounded(seconds));
  return new Intl.RelativeTimeFormat(locale, { numeric: "auto" }).format(0, "second"); // now
}

function countDown() {
  for (const element of document.querySelectorAll("[data-seconds]")) {
    const left = Math.round(element.dataset.seconds - (Date.now() - arrived) / 1000);
    const text = until(left);
    if (element.textContent !== text) element.textContent = text;
  }
}

// Copy buttons need this script: the server renders some hidden, and each claim with a value gets one.
function offerCopies() {
  if (!navigator.clipboard) return;
  for (const button of document.querySelectorAll("[data-copy]")) button.hidden = false;
  for (const value of document.querySelectorAll(".claims dd:not(.claim-change, :has(.copy, .muted))")) {
    const button = document.getElementById("copy-claim").content.firstElementChild.cloneNode(true);
    button.ariaLabel = button.ariaLabel.replace("{claim}", value.parentElement.firstElementChild.textContent);
    value.append(button);
  }
}

// Returns a claim's value: a list line by line, and a time with its zone.
function claimText(value) {
  const items = [...value.querySelectorAll("li")].map((item) => item.textContent);
  return items.join("\n") || (value.querySelector("time")?.dateTime ?? value.textContent.trim());
}

document.addEventListener("click", async ({ target }) => {
  const button = target.closest("[data-copy], .copy");
  if (!button) return;
  const source = document.getElementById(button.dataset.copy)?.textContent ?? claimText(button.parentElement);
  const copied = await navigator.clipboard.writeText(source).then(() => true, () => false);
  const text = button.dataset[copied ? "done" : "failed"];
  announce(text);
  button.toggleAttribute("data-copied", copied);
  const label = (button.dataset.label ??= button.textContent);
  if (label) button.textContent = text;
  setTimeout(() => {
    button.removeAttribute("data-copied");
    if (label) button.textContent = label;
  }, 2000);
});

// Sections that the person has opened stay open when htmx replaces them.
const opened = new Set();
document.addEventListener("toggle", ({ target }) => opened[target.open ? "add" : "delete"](target.id), true);

// The focus would be lost with a notice that is dismissed. A dialog that closes returns it by itself.
document.addEventListener("close", ({ target }) => focusHeading(target.parentElement.closest(".card")), true);

// Removes pictures that do not load, which reveals the initials underneath.
function dropBrokenPictures(root) {
  for (const picture of root.querySelectorAll(".avatar img")) picture.decode().catch(() => picture.remove());
}

// Announces a sentence to screen readers. The region is emptied first, so that a repeated sentence
// is announced again.
function announce(text) {
  const region = document.getElementById("announcer");
  if (!region || !text) return;
  region.textContent = "";
  setTimeout(() => (region.textContent = text), 100);
}

// A page from the back/forward cache may belong to a session that has ended, or its button may still
// wait. Only the server knows, so load the page again.
addEventListener("pageshow", (event) => {
  if (event.persisted) location.reload();
});

// The button that submitted the last form. htmx handles the event before it gets to the document.
let pressed = null;
document.addEventListener("submit", ({ submitter }) => (pressed = submitter), true);

// Shows that a button waits, and its form with it.
function setBusy(value, ...elements) {
  for (const element of elements) if (element) element.ariaBusy = value;
}

// The mark expires in case the browser never gets to the next page.
function waitFor(...elements) {
  setBusy("true", ...elements);
  setTimeout(setBusy, 15000, null, ...elements);
}

// Sends one request per press. For forms that htmx sends, the default is already prevented. A form
// that closes a dialog sends nothing.
document.addEventListener("submit", (event) => {
  const form = event.target;
  if (event.defaultPrevented || form.method === "dialog") return;
  if (form.ariaBusy === "true") return event.preventDefault();
  waitFor(form, pressed);
});

// The sign-in service may be slow. A click that opens another tab leaves this page as it is.
document.addEventListener("click", (event) => {
  const link = event.target.closest("a.button:not([target])");
  if (link && !(event.defaultPrevented || event.ctrlKey || event.metaKey || event.shiftKey || event.altKey)) waitFor(link);
});

// Announces what the page says about what the person has just done, once. An alert announces itself.
function announceNotices() {
  const fresh = [...document.querySelectorAll("#notices > :not([data-said], [role])")];
  for (const notice of fresh) notice.dataset.said = "";
  announce(fresh.map((notice) => notice.textContent).join(" "));
}

// A form that htmx sends is busy too. If the response replaces the form, the second event is fired
// on the document. What the page says about an earlier form must not stand above the answer to this one.
document.addEventListener("htmx:before:request", ({ target }) => {
  setBusy("true", target, pressed?.form === target && pressed);
  if (target.matches("form")) document.getElementById("notices")?.replaceChildren();
});
// If the response leads to another page, the form waits until the browser gets there.
document.addEventListener("htmx:finally:request", ({ target, detail: { ctx } }) => {
  if (ctx.keepIndicators) return waitFor(target, pressed?.form === target && pressed);
  setBusy(null, target, ...(target.elements ?? []));
});

// After a swap, htmx restores the focus to an element with the same id. If there is none, the focus goes
// to the heading of the card that had it. It never goes to a button, which a second Enter would press.
// A swap that begins while another one is under way does not find the focus any more.
let focused = null;
const rememberFocus = () => (focused = document.activeElement.closest(".card")?.id ?? focused);

function keepFocus() {
  if (document.activeElement === document.body) focusHeading(document.getElementById(focused));
  focused = null;
}

function focusHeading(card) {
  const heading = card?.querySelector("h2");
  if (!heading) return;
  heading.tabIndex = -1;
  heading.focus({ preventScroll: true });
}

document.addEventListener("htmx:before:swap", rememberFocus);
document.addEventListener("htmx:after:swap", ({ detail: { ctx } }) => {
  const content = ctx.sourceElement;
  localiseTimes(document);
  offerCopies();
  for (const id of opened) document.getElementById(id)?.setAttribute("open", "");
  dropBrokenPictures(content);
  announce(content.dataset.announce);
  announceNotices();
  keepFocus();
});

// Some browsers abort requests as soon as the person follows a link.
let leaving = false;
addEventListener("beforeunload", () => {
  leaving = true;
  setTimeout(() => (leaving = false), 5000);
});

// The request got no response. The card keeps its content and shows the notice in its template. A card
// without one leaves that to the place above the page's content.
document.addEventListener("htmx:error", ({ detail: { ctx } }) => {
  const card = ctx?.sourceElement?.closest(".card");
  const place = card?.querySelector("[data-message]");
  const own = place && card.querySelector("template");
  const template = own ?? document.getElementById("lost-reply");
  if (!template || leaving) return;
  rememberFocus();
  (own ? place : document.getElementById("notices")).replaceChildren(template.content.cloneNode(true));
  keepFocus();
});

// Each runs as a task of its own, so that the page can handle a press in between: formatting the
// first date takes a tenth of a second on a slow phone.
for (const improve of [offerCopies, dropBrokenPictures, localiseTimes, announceNotices]) setTimeout(improve, 0, document);
setInterval(countDown, 1000);
