// Loads the page anew when another process of the app answers, and shows what is wrong with
// a change that does not build, or does not start. Only pages of a development build load
// this file.
"use strict";

{
  const page = document.currentScript.dataset.process;
  const patience = 10000; // a restart takes less
  let source = null;
  let silent = 0; // since when nobody answers
  let shown = null;

  // A browser opens six connections to a host: only the pages that can be seen take one.
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
        show("The last change does not build; this is the program from before it.\n\n" + JSON.parse(event.data));
      });
      source.onopen = () => (silent = 0);
      source.onerror = () => {
        silent ||= Date.now();
        if (Date.now() - silent > patience) show("The program does not answer. Unless you have stopped it, the terminal says why.");
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
    // The style of one element, by its object: the policy lets no style attribute in.
    Object.assign(shown.style, {
      position: "fixed", inset: "auto 0 0", maxHeight: "60vh", margin: "0", padding: "1rem", overflow: "auto", zIndex: "9",
      whiteSpace: "pre-wrap", font: "0.875rem/1.5 ui-monospace, monospace", color: "#fff", background: "#7d1712",
    });
    document.body.append(shown);
  }

  document.addEventListener("visibilitychange", follow);
  follow();
}
