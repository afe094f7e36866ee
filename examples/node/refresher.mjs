// Access tokens for your users, in your own server or bot. A token is reused until it has to be refreshed.
//
// With Microsoft's clients:
//   const tokenFor = refresher(process.env.SERVICE_URL, process.env.SERVICE_KEY);
//   new AzureCommunicationTokenCredential({ tokenRefresher: () => tokenFor("bot"), refreshProactively: true });

/** Returns a function from a user id to an access token. `key` is a function key of create_identity_with_token. */
export function refresher(service, key, now = Date.now) {
  const cache = new Map();
  return async function tokenFor(userId) {
    const cached = cache.get(userId);
    if (cached && now() < Date.parse(cached.refreshAfter)) return cached.token;
    const response = await fetch(`${service}/api/identities/with-token`, {
      method: "POST",
      headers: { "x-functions-key": key },
      body: JSON.stringify({ userId, scopes: ["chat"] }),
      signal: AbortSignal.timeout(15_000),
    });
    if (!response.ok) throw new Error(`${response.status} ${await response.text()}`);
    cache.set(userId, await response.json());
    return cache.get(userId).token;
  };
}
