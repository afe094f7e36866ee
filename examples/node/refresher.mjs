// Access tokens for your users, from your own server or bot: each asked for anew only when due.
//
// With Microsoft's clients:
//   const tokenFor = refresher(process.env.SERVICE_URL, process.env.SERVICE_KEY);
//   new AzureCommunicationTokenCredential({ tokenRefresher: () => tokenFor("bot"), refreshProactively: true });

/** From a user's id to an access token; the key is a function key of create_identity_with_token. */
export function refresher(service, key, now = Date.now) {
  const kept = new Map();
  return async function tokenFor(userId) {
    const answer = kept.get(userId);
    if (answer && now() < Date.parse(answer.refreshAfter)) return answer.token;
    const response = await fetch(`${service}/api/identities/with-token`, {
      method: "POST",
      headers: { "x-functions-key": key },
      body: JSON.stringify({ userId, scopes: ["chat"] }),
      signal: AbortSignal.timeout(15_000),
    });
    if (!response.ok) throw new Error(`${response.status} ${await response.text()}`);
    kept.set(userId, await response.json());
    return kept.get(userId).token;
  };
}
