// Asks examples/node/refresher.mjs once per line of standard input, {"minutes": …, "user": …}: minutes
// after the start, by its clock, for that user. Answers each with {"token": …} or {"error": …}.
import { createInterface } from "node:readline";
import { refresher } from "../../examples/node/refresher.mjs";

let now = Date.now();
const start = now;
const tokenFor = refresher(process.env.SERVICE, process.env.KEY, () => now);
for await (const line of createInterface({ input: process.stdin })) {
  const { minutes, user } = JSON.parse(line);
  now = start + minutes * 60_000;
  const answer = await tokenFor(user).then(
    (token) => ({ token }),
    (error) => ({ error: error.message }),
  );
  console.log(JSON.stringify(answer));
}
