// Runs the refresher of examples/node for the tests, as drive.py does for examples/python.
import { createRequire } from "node:module";
import { createInterface } from "node:readline";
import { mock } from "node:test";
import { AccessTokens } from "../../examples/node/refresher.mjs";
import { Service, withEntra, withKey } from "../../examples/node/service.mjs";

const sdk = createRequire(new URL("../sdk/", import.meta.url));
const { ManagedIdentityCredential } = sdk("@azure/identity");
const { AzureCommunicationTokenCredential } = createRequire(sdk.resolve("@azure/communication-identity"))(
  "@azure/communication-common",
);

// Moves the clock of the example, and of Microsoft's credential.
const startClock = () => {
  mock.timers.reset();
  mock.timers.enable({ apis: ["Date", "setTimeout"], now: Date.now() });
};
const advance = (seconds) => mock.timers.tick(Math.ceil(seconds * 1000));
const slept = [];
const sleep = async (seconds) => {
  slept.push(seconds);
  advance(seconds);
};
const outcome = (promise) =>
  promise.catch(({ status, code, retryAfter = null }) => ({ status, code, retryAfter }));

let tokens;
let broken;
let started;
const driver = {
  environ: (variables) => void Object.assign(process.env, variables),
  new(url, key, application, { users, ...limits }) {
    startClock();
    slept.length = 0;
    broken = false;
    const authenticate = key ? withKey(key) : withEntra(new ManagedIdentityCredential(), application);
    const checkAndAuthenticate = async (signal) => {
      if (broken) throw new Error("There is no token");
      return authenticate(signal);
    };
    tokens = new AccessTokens(new Service(url, checkAndAuthenticate, { sleep, ...limits }), { users });
  },
  advance,
  break_credential: () => void (broken = true),
  slept: () => slept,
  start(...userIds) {
    started = userIds.map(driver.get);
  },
  finish: () => Promise.all(started),
  get: (userId) => outcome(tokens.get(userId).then(({ token }) => token)),
  forget: (userId) => tokens.forget(userId),
  revoke: (userId) => outcome(tokens.revoke(userId)),
  delete: (userId) => outcome(tokens.delete(userId)),
  async credential(userId, token, refreshProactively) {
    const credential = new AzureCommunicationTokenCredential({
      token,
      tokenRefresher: tokens.refresher(userId),
      refreshProactively,
    });
    const result = await credential.getToken();
    credential.dispose();
    return result.token;
  },
  // Runs code that creates `credential`, and returns the token of the credential. For the code, the backend's page is open.
  async run(code, { serviceUrl, serviceKey, page, session }) {
    const scope = {
      AccessTokens,
      Service,
      withKey,
      AzureCommunicationTokenCredential,
      serviceUrl,
      serviceKey,
      fetch: (path, options) => fetch(page + path, { ...options, headers: { Cookie: `session=${session}` } }),
    };
    const credential = new Function(...Object.keys(scope), `${code}; return credential;`)(...Object.values(scope));
    const { token } = await credential.getToken();
    credential.dispose();
    return token;
  },
  // The call is aborted at once, and another one is not.
  async abort(userId) {
    const controller = new AbortController();
    const refresh = tokens.refresher(userId);
    const calls = [refresh(controller.signal), refresh()];
    controller.abort();
    return Promise.all(calls.map((call) => call.catch(({ name }) => name)));
  },
};

for await (const line of createInterface({ input: process.stdin })) {
  const [name, ...parameters] = JSON.parse(line);
  console.log(JSON.stringify((await driver[name](...parameters)) ?? null));
}
