// Shows on every page that a pressed button waits for the next one. Each page works without this file.
"use strict";

// The button that submitted the last form. htmx handles the event before it gets to the document.
let pressed = null;
document.addEventListener("submit", ({ submitter }) => (pressed = submitter), true);

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
  if (!link || event.defaultPrevented || event.ctrlKey || event.metaKey || event.shiftKey || event.altKey) return;
  waitFor(link);
});

// A page from the back/forward cache waits for nothing any more.
addEventListener("pageshow", () => setBusy(null, ...document.querySelectorAll("[aria-busy]")));
