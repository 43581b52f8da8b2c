// Keeps "Try it" for times without a network: what the page and its workers fetch is kept, and
// answers when the site cannot be reached. The network comes first, so that nothing here grows old.
const SHELF = "try-it";

self.addEventListener("install", () => self.skipWaiting());
self.addEventListener("activate", (event) => event.waitUntil(self.clients.claim()));

async function answer(request) {
  const shelf = await caches.open(SHELF);
  try {
    const fresh = await fetch(request);
    if (fresh.ok) await shelf.put(request, fresh.clone());
    return fresh;
  } catch (error) {
    const kept = await shelf.match(request, { ignoreSearch: true, ignoreVary: true });
    if (kept) return kept;
    throw error;
  }
}

self.addEventListener("fetch", (event) => {
  if (event.request.method === "GET") event.respondWith(answer(event.request));
});

// What the page was made of before this worker was there: it sends the addresses, and hears when
// all are kept.
self.addEventListener("message", (event) => {
  const keep = async () => {
    const shelf = await caches.open(SHELF);
    await shelf.addAll(event.data);
    event.ports[0].postMessage("kept");
  };
  event.waitUntil(keep());
});
