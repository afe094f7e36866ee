// Access tokens for your users, in your own server or bot. A token is reused until it has to be refreshed.
//
// With Microsoft's clients:
//   const tokenFor = refresher(process.env.SERVICE_URL, withKey(process.env.SERVICE_KEY));
//   new AzureCommunicationTokenCredential({ tokenRefresher: () => tokenFor("bot"), refreshProactively: true });

/** Authenticates with a function key of create_identity_with_token. */
export const withKey = (key) => async () => ({ "x-functions-key": key });

/**
 * Authenticates without a key, if the service has SERVICE_AUTHENTICATION=entra.
 *
 * `credential` is one of @azure/identity, such as `new ManagedIdentityCredential()`, which caches its tokens. Its
 * identity needs the roles Identities.Manage and Tokens.Issue. `application` is the client id of the service's app
 * registration.
 */
export const withEntra = (credential, application) => async () => {
  const { token } = await credential.getToken(`api://${application}/.default`);
  return { Authorization: `Bearer ${token}` };
};

/** Returns a function from a user id to an access token. `authenticate` is `withKey(…)` or `withEntra(…)`. */
export function refresher(service, authenticate, now = Date.now) {
  const cache = new Map();
  return async function tokenFor(userId) {
    const cached = cache.get(userId);
    if (cached && now() < Date.parse(cached.refreshAfter)) return cached.token;
    const response = await fetch(`${service}/api/identities/with-token`, {
      method: "POST",
      headers: await authenticate(),
      body: JSON.stringify({ userId, scopes: ["chat"] }),
      signal: AbortSignal.timeout(15_000),
    });
    if (!response.ok) throw new Error(`${response.status} ${await response.text()}`);
    cache.set(userId, await response.json());
    return cache.get(userId).token;
  };
}
