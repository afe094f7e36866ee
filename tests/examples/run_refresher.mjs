// Calls examples/node/refresher.mjs once per line of standard input, {"minutes": …, "user": …}, with a
// clock that many minutes after the start. Prints {"token": …} or {"error": …} for each.
import { createInterface } from "node:readline";
import { refresher } from "../../examples/node/refresher.mjs";

let now = Date.now();
const start = now;
const tokenFor = refresher(process.env.SERVICE, process.env.KEY, () => now);
for await (const line of createInterface({ input: process.stdin })) {
  const { minutes, user } = JSON.parse(line);
  now = start + minutes * 60_000;
  const result = await tokenFor(user).then(
    (token) => ({ token }),
    (error) => ({ error: error.message }),
  );
  console.log(JSON.stringify(result));
}
