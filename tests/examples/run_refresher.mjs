// Calls examples/node/refresher.mjs once per line of standard input, {"minutes": …, "user": …}, with a
// clock that many minutes after the start. Prints {"token": …} or {"error": …} for each.
import { createRequire } from "node:module";
import { createInterface } from "node:readline";
import { refresher, withEntra, withKey } from "../../examples/node/refresher.mjs";

const { ManagedIdentityCredential } = createRequire(new URL("../sdk/", import.meta.url))("@azure/identity");

const { SERVICE, KEY, APPLICATION } = process.env;
const authenticate = KEY ? withKey(KEY) : withEntra(new ManagedIdentityCredential(), APPLICATION);
let now = Date.now();
const start = now;
const tokenFor = refresher(SERVICE, authenticate, () => now);
for await (const line of createInterface({ input: process.stdin })) {
  const { minutes, user } = JSON.parse(line);
  now = start + minutes * 60_000;
  const result = await tokenFor(user).then(
    (token) => ({ token }),
    (error) => ({ error: error.message }),
  );
  console.log(JSON.stringify(result));
}
