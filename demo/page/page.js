// New mails appear without a reload: the page asks twice a second whether
// anything has changed, and takes the two lists out of its own newer version.
"use strict";
let busy = false;
setInterval(async () => {
  const list = document.getElementById("list");
  if (busy || document.hidden || !list) return;
  busy = true;
  try {
    const version = await (await fetch("/version")).text();
    if (version !== list.dataset.version) {
      const page = new DOMParser().parseFromString(await (await fetch(location.pathname)).text(), "text/html");
      for (const id of ["people", "list"]) {
        document.getElementById(id).replaceWith(page.getElementById(id));
      }
    }
  } catch {
    // The demo has ended; the next answer comes when it is back.
  }
  busy = false;
}, 500);
