// "Try it" begins here: the two halves of the page, and what keeps them for times without a
// network.
import { startTrying } from "./try.js";
import { startLearning } from "./learn.js";

startTrying(startLearning());

// Once used, the page works without a network: at the first tap a service worker takes in what the
// page is made of, and later what is fetched on demand. It needs https, or this machine's own
// server.
async function keep() {
  const { active } = await navigator.serviceWorker.ready;
  const loaded = performance.getEntriesByType("resource").map((each) => each.name);
  const parts = loaded.filter((name) => name.startsWith(location.origin)); // of this site
  const channel = new MessageChannel();
  channel.port1.onmessage = () => (document.documentElement.dataset.kept = true);
  active.postMessage([location.href.split("#")[0], ...parts], [channel.port2]);
}

if ("serviceWorker" in navigator && window.isSecureContext) {
  const scope = new URL("./try", document.baseURI); // this page, and its folder
  navigator.serviceWorker.register("try-offline.js", { scope }).catch(() => {}); // works without
  for (const event of ["pointerdown", "keydown"]) {
    window.addEventListener(event, keep, { once: true });
  }
}
