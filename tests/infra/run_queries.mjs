// Runs queries on log lines, as a workspace would. Microsoft's parser reads the query; this file knows only the
// operators and functions that the tested queries use, and fails on any other.
//
// Each line of standard input is {"now", "lines": [{"table", "times", and columns}], "queries": {name: {"text", "since"}}}.
// Writes one line for it: the rows of each query on the lines since its time, or an error.
// Source: https://learn.microsoft.com/kusto/query/

import { createInterface } from "node:readline";
import { globals, KustoCode, Syntax } from "./tables.mjs";

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
  // A comparison with null is never true.
  GreaterThanExpression: (left, right) => left !== null && right !== null && left > right,
  GreaterThanOrEqualExpression: (left, right) => left !== null && right !== null && left >= right,
  LessThanExpression: (left, right) => left !== null && right !== null && left < right,
  AddExpression: (left, right) => left + right,
  MultiplyExpression: (left, right) => left * right,
  HasExpression: (left, right) => lower(left).includes(lower(right)), // whole ids: never parts of a word
  StartsWithExpression: (left, right) => lower(left.slice(0, right.length)) === lower(right),
};

const FUNCTIONS = {
  strcat: (...texts) => texts.join(""),
  substring: (value, start, length) => value.substr(start, length),
  indexof: (value, part) => value.indexOf(part),
  isempty: (value) => value === "",
  iff: (test, yes, no) => (test ? yes : no),
  bin: (value, size) => new Date(Math.floor(value / size) * size),
  now: () => NOW,
  startofday: (time) => new Date(time.toISOString().slice(0, 10)),
};

// Aggregates ignore nulls. Of no values, sums and counts are 0, others null.
const known = (rows, value) => rows.map(value).filter((each) => each !== null);
const sorted = (rows, value) => known(rows, value).sort((left, right) => left - right);

const AGGREGATES = {
  count: (rows) => rows.length,
  countif: (rows, test) => rows.filter(test).length,
  dcount: (rows, value) => new Set(rows.map(value)).size,
  dcountif: (rows, value, test) => new Set(rows.filter(test).map(value)).size,
  sum: (rows, value) => known(rows, value).reduce((sum, each) => sum + each, 0),
  min: (rows, value) => sorted(rows, value)[0] ?? null,
  max: (rows, value) => sorted(rows, value).at(-1) ?? null,
  maxif: (rows, value, test) => AGGREGATES.max(rows.filter(test), value),
  percentile: (rows, value, rank) => {
    const values = sorted(rows, value);
    return values[Math.max(0, Math.ceil((rank({}) / 100) * values.length) - 1)] ?? null;
  },
};

const argumentNodes = (call) => elements(call.ArgumentList.Expressions);
const argumentsOf = (call) => argumentNodes(call).map(evaluator);

// A function from a row to the value of the expression.
function evaluator(node) {
  const name = kind(node);
  if (name === "NameReference") return (row) => (node.SimpleName in row ? row[node.SimpleName] : unknown(node.SimpleName));
  if (name === "ParenthesizedExpression") return evaluator(node.Expression);
  if (name === "StringLiteralExpression") return () => node.LiteralValue;
  if (name === "LongLiteralExpression") return () => (node.LiteralValue === null ? null : Number(node.LiteralValue));
  if (name === "RealLiteralExpression") return () => Number(node.LiteralValue);
  if (name === "TimespanLiteralExpression") return () => milliseconds(node.ToString().trim());
  if (name === "InExpression" || name === "NotInExpression") {
    const [left, values] = [evaluator(node.Left), elements(node.Right.Expressions).map(evaluator)];
    return (row) => values.some((value) => value(row) === left(row)) === (name === "InExpression");
  }
  if (name === "DivideExpression") {
    const [left, right] = [evaluator(node.Left), evaluator(node.Right)];
    const isWhole = node.ResultType.Name === "long";
    return (row) => (isWhole ? Math.trunc(left(row) / right(row)) : left(row) / right(row));
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

const UNITS = { s: 1000, m: 60_000, h: 3_600_000, d: 86_400_000 };

function milliseconds(timespan) {
  const [, number, unit] = /^(\d+)([smhd])$/.exec(timespan) ?? unknown(timespan);
  return number * UNITS[unit];
}

// The name and the expression of a column.
function column(node) {
  if (kind(node) === "FunctionCallExpression" && node.Name.SimpleName === "bin") return column(argumentNodes(node)[0]).with(1, node);
  if (kind(node) !== "SimpleNamedExpression") return [node.SimpleName ?? unknown("a column without a name"), node];
  return [node.Name.SimpleName, node.Expression];
}

const columns = (list) => elements(list).map((node) => column(node));

function values(list) {
  const evaluators = columns(list).map(([name, node]) => [name, evaluator(node)]);
  return (row) => Object.fromEntries(evaluators.map(([name, value]) => [name, value(row)]));
}

// Tabular operators

// The results for the rows. Rows that are repeated are one object: what is done with it is done once.
function each(rows, change) {
  const results = new Map();
  return rows.map((row) => {
    if (!results.has(row)) results.set(row, change(row));
    return results.get(row);
  });
}

function filter(node, rows) {
  const tests = each(rows, evaluator(node.Condition));
  return rows.filter((_, index) => tests[index]);
}

function extend(node, rows) {
  const added = values(node.Expressions);
  return each(rows, (row) => ({ ...row, ...added(row) }));
}

// Pairs are separated by spaces, keys and values by "=", and double quotes keep a value together.
const PAIR = /([^\s=]+)=(?:"([^"]*)"|(\S*))/g;

function parsed(type, value) {
  if (type === "string") return value ?? "";
  return /^-?\d+$/.test(value ?? "") ? Number(value) : null;
}

function parseKv(node, rows) {
  const keys = elements(node.Keys.Columns).map((key) => [key.Name.SimpleName, key.Type.toString().trim()]);
  const text = evaluator(node.Expression);
  return each(rows, (row) => {
    const pairs = Object.fromEntries([...text(row).matchAll(PAIR)].map(([, key, quoted, plain]) => [key, quoted ?? plain]));
    return { ...row, ...Object.fromEntries(keys.map(([key, type]) => [key, parsed(type, pairs[key])])) };
  });
}

function summarize(node, rows) {
  const by = node.ByClause ? values(node.ByClause.Expressions) : () => ({});
  const groups = new Map();
  if (!node.ByClause) groups.set("{}", rows); // one row, also for no rows
  const keys = each(node.ByClause ? rows : [], (row) => JSON.stringify(by(row)));
  for (const [index, key] of keys.entries()) {
    const row = rows[index];
    groups.has(key) ? groups.get(key).push(row) : groups.set(key, [row]);
  }
  const aggregates = elements(node.Aggregates).map(aggregated);
  return [...groups.values()].map((group) => Object.assign({ ...by(group[0]) }, ...aggregates.map((each) => each(group))));
}

// A function from the rows of a group to the column of an aggregate, or to the columns of arg_max.
function aggregated(node) {
  if (kind(node) === "FunctionCallExpression" && node.Name.SimpleName === "arg_max") {
    const [by, ...others] = argumentNodes(node).map((each) => column(each)[0]);
    return (group) => {
      const last = group.reduce((best, row) => (row[by] >= best[by] ? row : best));
      return Object.fromEntries([by, ...others].map((name) => [name, last[name]]));
    };
  }
  const [name, call] = column(node);
  const aggregate = AGGREGATES[call.Name.SimpleName] ?? unknown(call.Name.SimpleName);
  const values = argumentsOf(call);
  return (group) => ({ [name]: aggregate(group, ...values) });
}

function sort(node, rows) {
  const [ordered, ...others] = elements(node.Expressions);
  if (others.length > 0) unknown("an order by several columns");
  const key = evaluator(ordered.Expression);
  const sign = ordered.Ordering.AscOrDescKeyword.Text === "asc" ? 1 : -1;
  return rows.toSorted((left, right) => sign * (key(left) < key(right) ? -1 : key(left) > key(right) ? 1 : 0));
}

const TABULAR = {
  FilterOperator: filter,
  ExtendOperator: extend,
  ProjectOperator: (node, rows) => each(rows, values(node.Expressions)),
  ParseKvOperator: parseKv,
  SummarizeOperator: summarize,
  SortOperator: sort,
};

function result(node) {
  if (kind(node) === "NameReference") return LINES.filter(([table]) => table === node.SimpleName).map(([, line]) => line);
  // Tables without lines may not exist yet.
  if (kind(node) === "UnionOperator") return elements(node.Expressions).flatMap(result);
  if (kind(node) !== "PipeExpression") unknown(kind(node));
  const operator = TABULAR[kind(node.Operator)] ?? unknown(kind(node.Operator));
  return operator(node.Operator, result(node.Expression));
}

// The time of the query, and the lines that it reads, each with its table.
let NOW;
let LINES;

const parsedQueries = new Map();

function parse(text) {
  if (!parsedQueries.has(text)) {
    const [statement] = elements(KustoCode.ParseAndAnalyze(text, globals).Syntax.Statements);
    parsedQueries.set(text, statement.Expression);
  }
  return parsedQueries.get(text);
}

function answer({ now, lines, queries }) {
  NOW = new Date(now);
  const all = lines.flatMap(({ times, table, ...columns }) => {
    const line = { ...columns, TimeGenerated: new Date(columns.TimeGenerated) };
    return Array(times).fill([table, line]);
  });
  const rows = ({ text, since }) => {
    const start = new Date(since ?? 0);
    LINES = all.filter(([, line]) => line.TimeGenerated > start);
    return result(parse(text));
  };
  return Object.fromEntries(Object.entries(queries).map(([name, query]) => [name, rows(query)]));
}

for await (const line of createInterface({ input: process.stdin })) {
  try {
    console.log(JSON.stringify({ rows: answer(JSON.parse(line)) }));
  } catch (error) {
    console.log(JSON.stringify({ error: error.stack }));
  }
}
