/* The HTTP interface as a page, from the service's own openapi.json. It loads nothing from another host. */

const root = document.getElementById("operations");

/** An element with text or children; text is never parsed as HTML. */
function element(name, content = [], attributes = {}) {
  const made = document.createElement(name);
  made.append(...[content].flat());
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  return made;
}

const table = (head, rows) => element("table", [
  element("thead", element("tr", head.map((text) => element("th", text, { scope: "col" })))),
  element("tbody", rows.map((row) => element("tr", row.map((cell) => element("td", cell))))),
]);

const nameOf = (reference) => reference.split("/").at(-1);

/** A schema's type in one line. */
function typeOf(schema = {}) {
  if (schema.$ref) return nameOf(schema.$ref);
  if (schema.anyOf) return schema.anyOf.map(typeOf).join(" or ");
  if (schema.const !== undefined) return JSON.stringify(schema.const);
  if (schema.enum) return schema.enum.map((value) => JSON.stringify(value)).join(", ");
  if (schema.type === "array") return schema.prefixItems ? `[${schema.prefixItems.map(typeOf).join(", ")}]` : `list of ${typeOf(schema.items)}`;
  return schema.format ?? schema.type ?? "any";
}

function options(operation) {
  const form = operation.requestBody?.content["multipart/form-data"]?.schema.properties ?? {};
  const query = new Map((operation.parameters ?? []).map((each) => [each.name, each]));
  const names = new Set([...Object.keys(form), ...query.keys()]);
  if (!names.size) return [];
  const rows = [...names].map((name) => {
    const schema = query.get(name)?.schema ?? form[name];
    const text = [query.get(name)?.description ?? schema.description ?? schema.items?.description ?? ""];
    const extra = schema.default === undefined || schema.default === null ? "" : `, ${JSON.stringify(schema.default)} if absent`;
    const where = [name in form ? "form" : "", query.has(name) ? "query" : ""].filter(Boolean).join(", ");
    return [name, where, `${typeOf(schema)}${extra}`, ...text];
  });
  return [element("h3", "Options"), table(["name", "in", "type", "meaning"], rows)];
}

function bodies(operation) {
  const content = operation.requestBody?.content;
  if (!content) return [];
  const kinds = Object.keys(content).flatMap((kind) => [element("code", kind), " "]);
  return [element("p", ["Body: ", ...kinds])];
}

function responses(operation) {
  const rows = Object.entries(operation.responses).map(([status, response]) => [
    status, response.description ?? "", Object.keys(response.content ?? {}).join(", "), Object.keys(response.headers ?? {}).join(", "),
  ]);
  return [element("h3", "Responses"), table(["status", "meaning", "content", "headers"], rows)];
}

function example(operation) {
  const found = operation.responses["200"]?.content?.["application/json"]?.example;
  if (!found) return [];
  return [element("details", [element("summary", "Example"), element("pre", JSON.stringify(found, null, 2), { tabindex: "0" })])];
}

function section(path, method, operation) {
  const title = element("h2", [element("span", method.toUpperCase(), { class: "method" }), path]);
  const parts = [...bodies(operation), ...options(operation), ...responses(operation), ...example(operation)];
  return element("section", [title, element("p", operation.summary ?? ""), ...parts]);
}

function model(name, schema) {
  const rows = Object.entries(schema.properties ?? {}).map(([key, each]) => [key, typeOf(each), each.description ?? ""]);
  const parts = [element("h2", name)];
  if (schema.description) parts.push(element("p", schema.description));
  return element("section", [...parts, table(["key", "type", "meaning"], rows)]);
}

async function show() {
  const response = await fetch("openapi.json");
  if (!response.ok) throw new Error(`openapi.json: status ${response.status}`);
  const openapi = await response.json();
  document.getElementById("about").textContent = `HTTP interface, version ${openapi.info.version}`;
  const operations = Object.entries(openapi.paths).flatMap(([path, methods]) =>
    Object.entries(methods).map(([method, operation]) => section(path, method, operation)));
  const models = Object.entries(openapi.components?.schemas ?? {}).map(([name, schema]) => model(name, schema));
  root.replaceChildren(...operations, ...models);
}

show().catch((error) => root.replaceChildren(element("p", `The description cannot be shown: ${error.message}`, { role: "alert" })));
