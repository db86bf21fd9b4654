// Keeps open pages true to their session: they warn before it ends, and leave when it has.
// The server tells one tab of a browser, which tells the others: a browser opens six
// connections to a host, and a stream of events takes one for as long as it lasts.
"use strict";

{
  const template = (name) => document.getElementById("session-warning-" + name);
  const { person, returnTo } = template("extend").dataset;
  const others = "BroadcastChannel" in window ? new BroadcastChannel("session") : null;
  const shared = others !== null && "locks" in navigator;
  const firstWait = 1000;
  const lastWait = 300000;

  let source = null; // the stream, in the tab that holds it
  let last = null; // what was last heard
  let wait = firstWait;

  // What is heard, and what it makes a page do.
  const doing = {
    alive(message) {
      // Somebody else has signed in here since: this page is not theirs.
      if (message.person !== person) return location.reload();
      hideWarning();
      moveEnd(message.until);
    },
    expiring(message) {
      if (message.person !== person) return;
      showWarning(message);
      moveEnd(message.until);
    },
    "signed-out"(message) {
      source?.close();
      leave(message.because);
    },
  };

  function hear(message) {
    last = message;
    doing[message.event](message);
  }

  function tell(message) {
    others?.postMessage(message);
    hear(message);
  }

  others?.addEventListener("message", ({ data }) => {
    if (data.event !== "hello") hear(data);
    else if (source && last?.event === "expiring") others.postMessage(last);
  });

  function listen() {
    source?.close();
    source = new EventSource("/events");
    source.onopen = () => (wait = firstWait);
    // A stream that breaks is opened again by the browser; one that is refused is not.
    source.onerror = () => source.readyState === EventSource.CLOSED && askWhy();
    for (const event of Object.keys(doing)) {
      source.addEventListener(event, ({ data }) => {
        const message = { event, ...JSON.parse(data) };
        // The clocks of one browser's tabs agree; that of the server may not.
        if ("left" in message) message.until = Date.now() + message.left * 1000;
        tell(message);
      });
    }
  }

  // A refusal says nothing to an EventSource. 204 means that there is no session any more,
  // anything else that it is worth another try.
  async function askWhy() {
    const answer = await fetch("/events", { method: "HEAD" }).catch(() => null);
    if (answer?.status === 204) return tell({ event: "signed-out", because: "" });
    setTimeout(listen, wait * (0.5 + Math.random()));
    wait = Math.min(2 * wait, lastWait);
  }

  // The tab that has the lock has the stream, until it is closed or goes elsewhere; then
  // another has the lock.
  if (shared) {
    navigator.locks.request("session", () => new Promise(listen));
    others.postMessage({ event: "hello" });
  } else {
    // Without locks every tab that can be seen has a stream.
    const listenWhileSeen = () => (document.visibilityState === "visible" ? listen() : source?.close());
    document.addEventListener("visibilitychange", listenWhileSeen);
    listenWhileSeen();
  }

  // A form that was sent is about to take this page elsewhere, and perhaps it is what ended
  // the session: its answer, which can lead on to the provider, must not be cut off.
  let leavingAlready = false;
  document.addEventListener("submit", (event) => {
    if (event.defaultPrevented) return;
    leavingAlready = true;
    setTimeout(() => (leavingAlready = false), 8000);
  });

  function leave(because) {
    if (leavingAlready) return setTimeout(leave, 8000, because);
    const query = new URLSearchParams({ because, return_to: returnTo });
    location.replace("/signed-out?" + query);
  }

  // Another tab has moved the end that the card of this one shows.
  function moveEnd(until) {
    const end = document.querySelector("[data-idle-end]");
    const time = end?.querySelector("time");
    if (!time || !until || Math.abs(until - new Date(time.dateTime)) < 60000) return;
    time.dateTime = new Date(until).toISOString();
    delete time.dataset.local;
    localiseTimes(end);
    end.querySelector("[data-seconds]").dataset.seconds = (until - arrived) / 1000;
    countDown();
  }

  let warning = null;
  let until = 0;
  let countdown = 0;
  let before = null; // what had the focus before the warning got it

  function showWarning(message) {
    if (warning && until === message.until) return;
    hideWarning();
    until = message.until;
    document.body.append(template(message.extendable ? "extend" : "last").content.cloneNode(true));
    warning = document.getElementById("session-warning");
    warning.querySelector("form")?.addEventListener("submit", extend);
    warning.addEventListener("focusin", ({ relatedTarget }) => {
      if (!warning.contains(relatedTarget)) before = relatedTarget;
    });
    countdown = setInterval(count, 1000);
    count();
    announce(warning.innerText);
  }

  // The seconds are for the eyes; to screen readers the time is said when the warning comes
  // and once more when there is little left.
  function count() {
    const left = Math.max(0, Math.round((until - Date.now()) / 1000));
    warning.querySelector("[data-left]").textContent = inWords(left);
    if (left === 30) announce(warning.querySelector("#session-warning-heading").textContent);
  }

  function hideWarning() {
    clearInterval(countdown);
    if (!warning) return;
    const focused = warning.contains(document.activeElement);
    warning.remove();
    warning = null;
    if (focused) (before?.isConnected ? before : document.getElementById("main")).focus({ preventScroll: true });
  }

  async function extend(event) {
    event.preventDefault();
    const form = event.target;
    if (form.ariaBusy === "true") return;
    form.ariaBusy = "true";
    const answer = await fetch(form.action, { method: "POST", headers: { Accept: "application/json" } }).catch(() => null);
    form.ariaBusy = null;
    if (answer?.ok) {
      tell({ event: "alive", person });
      return announce(form.dataset.done);
    }
    const failed = form.parentElement.querySelector("[data-failed]");
    failed.hidden = false;
    announce(failed.textContent);
  }
}
