// Reads a JSON object of queries from standard input. Writes the errors and the result columns of each query.
// The queries run in a Log Analytics workspace, whose table of log lines is AppTraces. Of the others, only the columns
// that every table has are used.
// Source: https://learn.microsoft.com/azure/azure-monitor/reference/tables/apptraces

import { createRequire } from "node:module";
import { text } from "node:stream/consumers";

const require = createRequire(import.meta.url);
require("@kusto/language-service-next/bridge.min.js");
require("@kusto/language-service-next/Kusto.Language.Bridge.min.js");
const { GlobalState, KustoCode, Symbols } = globalThis.Kusto.Language;

const columns =
  ", Message: string, SeverityLevel: int, OperationId: string, ParentId: string," +
  " AppRoleInstance: string, Properties: dynamic";
const others = ["AppRequests", "AppDependencies", "AppExceptions", "AppMetrics", "AppPerformanceCounters"];
others.push("StorageTableLogs", "StorageBlobLogs", "ACSAuthIncomingOperations");
const common = "TimeGenerated: datetime, _IsBillable: bool, _BilledSize: real";
const tables = [
  Symbols.TableSymbol.From(`(${common}${columns})`).WithName("AppTraces"),
  ...others.map((name) => Symbols.TableSymbol.From(`(${common})`).WithName(name)),
];
const workspace = new Symbols.DatabaseSymbol.ctor("workspace", tables);
const globals = GlobalState.Default.WithDatabase(workspace);

const items = (list) => Array.from({ length: list.Count }, (_, index) => list.getItem(index));

function analysed(query) {
  const code = KustoCode.ParseAndAnalyze(query, globals);
  return {
    errors: items(code.GetDiagnostics()).map((error) => error.Message),
    columns: Object.fromEntries(items(code.ResultType.Columns).map(({ Name, Type }) => [Name, Type.Name])),
  };
}

const queries = JSON.parse(await text(process.stdin));
const results = Object.entries(queries).map(([name, query]) => [name, analysed(query)]);
console.log(JSON.stringify(Object.fromEntries(results)));
