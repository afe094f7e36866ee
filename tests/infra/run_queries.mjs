// Runs queries on log lines, as a workspace would. Microsoft's parser reads the query; this file knows only the
// operators and functions that the tested queries use, and fails on any other.
//
// Reads {"now", "lines": [{"TimeGenerated", "Message"}], "query"} from standard input, and writes the rows.
// Source: https://learn.microsoft.com/kusto/query/

import { createRequire } from "node:module";
import { text } from "node:stream/consumers";

const require = createRequire(import.meta.url);
require("@kusto/language-service-next/bridge.min.js");
require("@kusto/language-service-next/Kusto.Language.Bridge.min.js");
const { KustoCode, Syntax } = globalThis.Kusto.Language;

const kind = (node) => globalThis.System.Enum.toString(Syntax.SyntaxKind, node.Kind);
const elements = (list) => Array.from({ length: list.Count }, (_, index) => list.getItem(index).Element$1);
const lower = (text) => String(text).toLowerCase();

function unknown(what) {
  throw new Error(`run_queries.mjs does not know ${what}`);
}

// Expressions

const OPERATORS = {
  AndExpression: (left, right) => left && right,
  OrExpression: (left, right) => left || right,
  EqualExpression: (left, right) => left === right,
  NotEqualExpression: (left, right) => left !== right,
  GreaterThanOrEqualExpression: (left, right) => left !== null && left >= right,
  LessThanExpression: (left, right) => left !== null && left < right,
  AddExpression: (left, right) => left + right,
  StartsWithExpression: (left, right) => lower(left).startsWith(lower(right)),
};

const FUNCTIONS = {
  substring: (value, start, length) => value.substr(start, length),
  indexof: (value, part) => value.indexOf(part),
  isempty: (value) => value === "",
  now: () => NOW,
  startofday: (time) => new Date(time.toISOString().slice(0, 10)),
};

const AGGREGATES = {
  count: (rows) => rows.length,
  countif: (rows, test) => rows.filter(test).length,
  dcountif: (rows, value, test) => new Set(rows.filter(test).map(value)).size,
  min: (rows, value) => new Date(Math.min(...rows.map(value))),
  max: (rows, value) => new Date(Math.max(...rows.map(value))),
};

const argumentsOf = (call) => elements(call.ArgumentList.Expressions).map(evaluator);

// A function from a row to the value of the expression.
function evaluator(node) {
  const name = kind(node);
  if (name === "NameReference") return (row) => (node.SimpleName in row ? row[node.SimpleName] : unknown(node.SimpleName));
  if (name === "ParenthesizedExpression") return evaluator(node.Expression);
  if (name === "StringLiteralExpression") return () => node.LiteralValue;
  if (name === "LongLiteralExpression") return () => Number(node.LiteralValue);
  if (name === "InExpression") {
    const [left, values] = [evaluator(node.Left), elements(node.Right.Expressions).map(evaluator)];
    return (row) => values.some((value) => value(row) === left(row));
  }
  if (name === "FunctionCallExpression") {
    const call = FUNCTIONS[node.Name.SimpleName] ?? unknown(node.Name.SimpleName);
    const values = argumentsOf(node);
    return (row) => call(...values.map((value) => value(row)));
  }
  const operator = OPERATORS[name] ?? unknown(name);
  const [left, right] = [evaluator(node.Left), evaluator(node.Right)];
  return (row) => operator(left(row), right(row));
}

// The name and the expression of a column.
function column(node) {
  if (kind(node) !== "SimpleNamedExpression") return [node.SimpleName ?? unknown("a column without a name"), node];
  return [node.Name.SimpleName, node.Expression];
}

const columns = (list) => elements(list).map((node) => column(node));

function values(list) {
  const evaluators = columns(list).map(([name, node]) => [name, evaluator(node)]);
  return (row) => Object.fromEntries(evaluators.map(([name, value]) => [name, value(row)]));
}

// Tabular operators

// Pairs are separated by spaces, keys and values by "=", and double quotes keep a value together.
const PAIR = /([^\s=]+)=(?:"([^"]*)"|(\S*))/g;

function parsed(type, value) {
  if (type === "string") return value ?? "";
  return /^-?\d+$/.test(value ?? "") ? Number(value) : null;
}

function parseKv(node, rows) {
  const keys = elements(node.Keys.Columns).map((key) => [key.Name.SimpleName, key.Type.toString().trim()]);
  const text = evaluator(node.Expression);
  return rows.map((row) => {
    const pairs = Object.fromEntries([...text(row).matchAll(PAIR)].map(([, key, quoted, plain]) => [key, quoted ?? plain]));
    return { ...row, ...Object.fromEntries(keys.map(([key, type]) => [key, parsed(type, pairs[key])])) };
  });
}

function summarize(node, rows) {
  const by = node.ByClause ? values(node.ByClause.Expressions) : () => ({});
  const groups = new Map(rows.map((row) => [JSON.stringify(by(row)), []]));
  if (!node.ByClause) groups.set("{}", []); // one row, also for no rows
  for (const row of rows) groups.get(JSON.stringify(by(row))).push(row);
  const aggregates = columns(node.Aggregates).map(([name, call]) => {
    const aggregate = AGGREGATES[call.Name.SimpleName] ?? unknown(call.Name.SimpleName);
    return [name, (group) => aggregate(group, ...argumentsOf(call))];
  });
  return [...groups.values()].map((group) => ({
    ...by(group[0]),
    ...Object.fromEntries(aggregates.map(([name, value]) => [name, value(group)])),
  }));
}

function sort(node, rows) {
  const [ordered, ...others] = elements(node.Expressions);
  if (others.length > 0) unknown("an order by several columns");
  const key = evaluator(ordered.Expression);
  const sign = ordered.Ordering.AscOrDescKeyword.Text === "asc" ? 1 : -1;
  return rows.toSorted((left, right) => sign * (key(left) < key(right) ? -1 : key(left) > key(right) ? 1 : 0));
}

const TABULAR = {
  FilterOperator: (node, rows) => rows.filter(evaluator(node.Condition)),
  ExtendOperator: (node, rows) => rows.map((row) => ({ ...row, ...values(node.Expressions)(row) })),
  ProjectOperator: (node, rows) => rows.map(values(node.Expressions)),
  ParseKvOperator: parseKv,
  SummarizeOperator: summarize,
  SortOperator: sort,
};

function result(node) {
  if (kind(node) !== "PipeExpression") return LINES;
  const operator = TABULAR[kind(node.Operator)] ?? unknown(kind(node.Operator));
  return operator(node.Operator, result(node.Expression));
}

const { now, lines, query } = JSON.parse(await text(process.stdin));
const NOW = new Date(now);
const LINES = lines.map(({ TimeGenerated, Message }) => ({ TimeGenerated: new Date(TimeGenerated), Message }));
const [statement] = elements(KustoCode.Parse(query).Syntax.Statements);
console.log(JSON.stringify(result(statement.Expression)));
