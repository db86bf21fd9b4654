// Reloads the page when another process of the app answers, and shows why a change does not build or
// start. Only pages of a development build load this file.
"use strict";

{
  const page = document.currentScript.dataset.process;
  const patience = 10000; // longer than a restart takes
  let source = null;
  let silent = 0; // when the program stopped responding
  let shown = null;

  // A browser opens at most six connections to a host, so only visible pages use one.
  function follow() {
    if (document.visibilityState === "hidden") {
      source?.close();
      source = null;
    } else if (!source) {
      source = new EventSource("/dev/reload");
      source.addEventListener("process", (event) => {
        if (JSON.parse(event.data) === page) return;
        source.close();
        location.reload();
      });
      source.addEventListener("failure", (event) => {
        show("The last change does not build. The previous build is still running.\n\n" + JSON.parse(event.data));
      });
      source.onopen = () => (silent = 0);
      source.onerror = () => {
        silent ||= Date.now();
        if (Date.now() - silent > patience) show("The program is not responding. Unless you stopped it, the terminal says why.");
      };
    }
  }

  function show(text) {
    if (shown?.textContent === text) return;
    shown?.remove();
    shown = document.createElement("pre");
    shown.id = "build-failure";
    shown.setAttribute("role", "alert");
    shown.tabIndex = 0;
    shown.textContent = text;
    // The content security policy forbids style attributes, but not the style object.
    Object.assign(shown.style, {
      position: "fixed", inset: "auto 0 0", maxHeight: "60vh", margin: "0", padding: "1rem", overflow: "auto", zIndex: "9",
      whiteSpace: "pre-wrap", font: "0.875rem/1.5 ui-monospace, monospace", color: "#fff", background: "#7d1712",
    });
    document.body.append(shown);
  }

  document.addEventListener("visibilitychange", follow);
  follow();
}
