// Microsoft's parser of queries, and the tables of a Log Analytics workspace that the queries read. The app's lines are
// in AppTraces. Of the others, only the columns that every table has are used.
// Source: https://learn.microsoft.com/azure/azure-monitor/reference/tables/apptraces

import { createRequire } from "node:module";

const require = createRequire(import.meta.url);
require("@kusto/language-service-next/bridge.min.js");
require("@kusto/language-service-next/Kusto.Language.Bridge.min.js");
export const { GlobalState, KustoCode, Symbols, Syntax } = globalThis.Kusto.Language;

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

// With them the analyser knows the type of each expression.
export const globals = GlobalState.Default.WithDatabase(workspace);
