// Makes open pages follow their session: they warn before it ends, and leave when it has ended. Only
// one tab has an event stream, and it passes events on to the others: a browser opens at most six
// connections to a host, and a stream occupies one for as long as it lasts.
"use strict";

{
  const template = (name) => document.getElementById("session-warning-" + name);
  const { person, returnTo } = template("extend").dataset;
  const others = new BroadcastChannel("session");
  const firstWait = 1000;
  const lastWait = 300000;

  let source = null; // the stream, in the tab that has it
  let last = null; // the last message about the session
  let devices = document.getElementById("sessions-card") !== null; // whether a page lists the devices
  let wait = firstWait;
  let retry = 0;
  let gone = false; // whether the page is being left
  let cause = ""; // why the session ended if its cookie is gone, as reported by another tab

  // What a page does for each kind of message.
  const handlers = {
    alive(message) {
      // Another person has signed in since, and must not see this page. A reload would send the form again
      // that this page may be the answer to.
      if (message.person !== person) return go(returnTo);
      cause = "";
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
    devices(message) {
      if (message.person === person) document.dispatchEvent(new CustomEvent("devices", { detail: message.html }));
    },
  };

  function hear(message) {
    if (message.event !== "devices") last = message;
    handlers[message.event](message);
  }

  function tell(message) {
    others.postMessage(message);
    hear(message);
  }

  others.addEventListener("message", ({ data }) => {
    if (data.event === "signing-out") return void (cause = "tab");
    if (data.event === "hidden") return void (source ?? takeOver());
    if (data.event !== "hello") return hear(data);
    if (source && last?.event === "expiring") others.postMessage(last);
    if (data.devices === devices) return;
    if (devices) return others.postMessage({ event: "hello", devices });
    devices = true;
    if (source) listen();
  });

  function listen() {
    if (gone) return;
    clearTimeout(retry);
    source?.close();
    source = new EventSource(devices ? "/events?devices" : "/events");
    source.onopen = () => (wait = firstWait);
    // The browser reopens a broken stream, but not one that the server refused.
    source.onerror = () => source.readyState === EventSource.CLOSED && askWhy();
    for (const event of Object.keys(handlers)) {
      source.addEventListener(event, ({ data }) => {
        const message = { event, ...JSON.parse(data) };
        // All tabs share this clock. The server's may differ.
        if ("left" in message) message.until = Date.now() + message.left * 1000;
        tell(message);
      });
    }
  }

  // An EventSource does not expose why it was refused, so ask again with fetch. 204 means that the
  // session is gone. After any other status, try again later.
  async function askWhy() {
    const refused = source;
    const answer = await fetch("/events", { method: "HEAD" }).catch(() => null);
    if (gone || source !== refused) return; // another tab has taken over, or this one has tried again
    if (answer?.status === 204) return tell({ event: "signed-out", because: last?.until <= Date.now() ? "expired" : cause });
    retry = setTimeout(listen, wait * (0.5 + Math.random()));
    wait = Math.min(2 * wait, lastWait);
  }

  // The tab that holds the lock has the stream. A tab takes the lock over when it is shown, because a browser
  // may suspend the tab that had it. A tab that is shown in another window does so when a tab is hidden. When
  // the tab that has the lock is closed or leaves, one that waits gets it. A tab that cannot use locks has a
  // stream of its own.
  let lock = null;
  let waiting = false;
  let stealing = false;
  let unsure = false; // whether another tab may have taken the lock while this one was suspended

  function hold(steal) {
    let mine = null;
    stealing ||= steal;
    const held = (granted) => {
      lock = mine = granted;
      waiting &&= steal;
      stealing &&= !steal;
      return new Promise(listen);
    };
    navigator.locks.request("session", { steal }, held).catch(() => {
      if (!mine) listen();
      else if (lock === mine) giveUp();
    });
  }

  function giveUp() {
    clearTimeout(retry);
    source?.close();
    source = null;
    if (!waiting) hold(false);
    waiting = true;
    if (unsure) takeOver();
    others.postMessage({ event: "hello", devices });
  }

  function takeOver() {
    if (document.hidden) return;
    unsure = source !== null;
    if (source?.readyState === EventSource.CLOSED) listen();
    if (!source && !stealing) hold(true);
  }

  if (!navigator.locks) {
    listen();
  } else {
    if (document.hidden) giveUp();
    else takeOver();
    document.addEventListener("visibilitychange", () => {
      if (document.hidden) others.postMessage({ event: "hidden" });
      else takeOver();
    });
  }

  // A submitted form is about to replace this page, and may be what ended the session. Do not
  // interrupt it: its response may redirect to the provider.
  let leavingAlready = false;
  document.addEventListener("submit", (event) => {
    if (event.defaultPrevented || event.target.method === "dialog") return;
    if (event.target.matches("[action='/logout']")) others.postMessage({ event: "signing-out" });
    leavingAlready = true;
    setTimeout(() => (leavingAlready = false), 8000);
  });

  function leave(because) {
    if (leavingAlready) return setTimeout(leave, 8000, because);
    const query = new URLSearchParams({ because, return_to: returnTo });
    go("/signed-out?" + query);
  }

  // A page that is being left may get the stream, but must not choose another way.
  function go(address) {
    if (!gone) location.replace(address);
    gone = true;
  }

  // Updates the idle timeout that the page shows, after another tab has extended it.
  function moveEnd(until) {
    const end = document.querySelector("[data-idle-end]");
    if (!end || !until) return;
    const time = end.querySelector("time");
    const left = end.querySelector("[data-seconds]").dataset;
    const now = (until - arrived) / 1000;
    const moved = now - left.seconds;
    if (Math.abs(moved) < 90) return; // the page rounds up to minutes
    time.dateTime = new Date(Date.parse(time.dateTime) + moved * 1000).toISOString();
    delete time.dataset.local;
    localiseTimes(end);
    left.seconds = now;
    countDown();
  }

  let warning = null;
  let until = 0;
  let extendable = false;
  let countdown = 0;
  let before = null; // the element that had the focus before the warning

  function showWarning(message) {
    until = message.until;
    // A stream that comes back repeats the warning. The one on the page stays, and so does the focus.
    if (warning && extendable === message.extendable) return count();
    hideWarning();
    extendable = message.extendable;
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

  // The countdown is visual. Screen readers announce the time when the warning appears and once more
  // shortly before the end.
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
    setBusy("true", form, event.submitter);
    const answer = await fetch(form.action, { method: "POST", headers: { Accept: "application/json" }, signal: AbortSignal.timeout(15000) }).catch(() => null);
    setBusy(null, form, event.submitter);
    if (answer?.ok) {
      tell({ event: "alive", person });
      return announce(form.dataset.done);
    }
    const failed = form.parentElement.querySelector("[data-failed]");
    failed.hidden = false;
    announce(failed.textContent);
  }
}
