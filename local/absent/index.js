// Azurite loads `applicationinsights` at its start, and calls it only if telemetry is on.
module.exports = {};
