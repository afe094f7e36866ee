// Ends Node when standard input closes, so that Azurite does not outlive the local Azure. See children.py.
// It runs in a thread of its own: it works even while the main thread is busy.
const { Socket } = require("node:net");
const { isMainThread, Worker } = require("node:worker_threads");

if (isMainThread) {
  new Worker(__filename, { execArgv: [] }).unref();
} else {
  new Socket({ fd: 0, writable: false }).on("close", () => process.kill(process.pid, "SIGKILL")).resume();
}
