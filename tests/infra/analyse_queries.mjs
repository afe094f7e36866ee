// Reads a JSON object of queries from standard input. Writes the errors and the result columns of each query.

import { text } from "node:stream/consumers";
import { globals, KustoCode } from "./tables.mjs";

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
