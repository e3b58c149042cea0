/**
 * The API's own page: reads /openapi.json and shows each route, its parameters and a curl line. One file without anything
 * from elsewhere, because a service behind a firewall has no CDN.
 */

/** The page's HTML. */
export function docsPage(version: string): string {
  return `<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>openws connector ${version}: API</title>
<style>${style}</style>
</head>
<body>
<header><h1>openws connector</h1><p>API ${version} · <a href="/openapi.json">openapi.json</a></p>
<label>Key <input id="key" type="password" placeholder="only for the curl lines; it stays in this page" autocomplete="off"></label></header>
<main id="routes" aria-live="polite">Reading /openapi.json …</main>
<script>${script}</script>
</body>
</html>`;
}

const style = `
:root { color-scheme: light dark; --line: color-mix(in srgb, currentColor 18%, transparent); --soft: color-mix(in srgb, currentColor 62%, transparent); }
* { box-sizing: border-box } body { font: 15px/1.5 system-ui, sans-serif; margin: 0 auto; max-width: 60rem; padding: 1.5rem 1rem 4rem }
h1 { font-size: 1.4rem; margin: 0 } h2 { font-size: 1.1rem; margin: 2rem 0 .5rem } header p { margin: .2rem 0 1rem; color: var(--soft) }
input { font: inherit; padding: .3rem .5rem; width: min(28rem, 100%); border: 1px solid var(--line); border-radius: .3rem; background: transparent; color: inherit }
details { border: 1px solid var(--line); border-radius: .4rem; margin: .4rem 0 } summary { cursor: pointer; padding: .5rem .7rem; display: flex; gap: .6rem; flex-wrap: wrap; align-items: baseline }
summary code { font-weight: 600 } summary span { color: var(--soft) } .method { font: 600 .75rem/1.6 ui-monospace, monospace; min-width: 3.6rem }
.get { color: #0a7a3c } .post { color: #0b61c4 } .patch, .put { color: #9a5b00 } .delete { color: #b3261e }
@media (prefers-color-scheme: dark) { .get { color: #5fd38d } .post { color: #7ab8ff } .patch, .put { color: #f0b35c } .delete { color: #ff8a80 } }
.inside { padding: 0 .7rem .7rem } table { border-collapse: collapse; width: 100% } th, td { text-align: left; padding: .25rem .5rem .25rem 0; border-top: 1px solid var(--line); vertical-align: top }
pre { overflow: auto; padding: .6rem; border: 1px solid var(--line); border-radius: .3rem; font: .8rem/1.5 ui-monospace, monospace } a { color: inherit }`;

// Written without a template of its own and without innerHTML: what it shows is data.
const script = `
const key = document.getElementById("key"), main = document.getElementById("routes");
const el = (tag, props, ...children) => { const e = Object.assign(document.createElement(tag), props); e.append(...children); return e; };
const follow = (doc, schema) => schema && schema.$ref ? follow(doc, schema.$ref.split("/").slice(1).reduce((at, name) => at[name], doc)) : schema;
const short = (doc, schema) => { const s = follow(doc, schema) || {}; if (s.enum) return s.enum.join(" | "); if (s.anyOf) return "one of " + s.anyOf.length + " forms"; return [].concat(s.type || "any").join(" | "); };
const sample = (doc, schema, depth = 0) => { const s = follow(doc, schema) || {}; if (depth > 5) return null; if (s.default !== undefined) return s.default; if (s.enum) return s.enum[0]; if (s.anyOf) return sample(doc, s.anyOf[0], depth + 1);
  switch ([].concat(s.type || "object")[0]) { case "string": return s.format === "uri" ? "https://example.com/" : "…"; case "integer": case "number": return 1; case "boolean": return true; case "array": return [sample(doc, s.items, depth + 1)];
  default: { const o = {}; for (const name of s.required || Object.keys(s.properties || {}).slice(0, 2)) o[name] = sample(doc, (s.properties || {})[name], depth + 1); return o; } } };
const curls = [];
const curl = (doc, path, method, op, open) => { const lines = ["curl" + (method === "get" ? "" : " -X " + method.toUpperCase())]; if (!open) lines.push('-H "Authorization: Bearer ' + (key.value || "$OPENWS_API_KEY") + '"');
  const body = op.requestBody && op.requestBody.content["application/json"]; if (body) { lines.push('-H "Content-Type: application/json"'); lines.push("-d '" + JSON.stringify(sample(doc, body.schema)) + "'"); }
  lines.push('"' + location.origin + path + '"'); return lines.join(" \\\\\\n  "); };
fetch("/openapi.json").then((r) => r.json()).then((doc) => {
  main.textContent = ""; const groups = new Map();
  for (const [path, methods] of Object.entries(doc.paths)) for (const [method, op] of Object.entries(methods)) { const tag = (op.tags || ["Other"])[0]; if (!groups.has(tag)) groups.set(tag, []); groups.get(tag).push([path, method, op]); }
  for (const [tag, ops] of groups) { main.append(el("h2", { textContent: tag }));
    for (const [path, method, op] of ops) {
      const inside = el("div", { className: "inside" });
      if (op.parameters && op.parameters.length) { const t = el("table", {}); for (const p of op.parameters) t.append(el("tr", {}, el("td", {}, el("code", { textContent: p.name + (p.required ? " *" : "") })), el("td", { textContent: p.in }), el("td", { textContent: short(doc, p.schema) }), el("td", { textContent: p.description || (p.schema || {}).description || "" }))); inside.append(t); }
      const body = op.requestBody && op.requestBody.content["application/json"]; if (body) { const s = follow(doc, body.schema); if (s.properties) { const t = el("table", {}); for (const [name, member] of Object.entries(s.properties)) t.append(el("tr", {}, el("td", {}, el("code", { textContent: name + ((s.required || []).includes(name) ? " *" : "") })), el("td", { textContent: "body" }), el("td", { textContent: short(doc, member) }), el("td", { textContent: (follow(doc, member) || {}).description || "" }))); inside.append(t); } }
      const pre = el("pre", {}); const show = () => { pre.textContent = curl(doc, path, method, op, false); }; show(); curls.push(show); inside.append(pre);
      const t = el("table", {}); for (const [status, r] of Object.entries(op.responses)) t.append(el("tr", {}, el("td", {}, el("code", { textContent: status })), el("td", { textContent: r.description }))); inside.append(t);
      main.append(el("details", {}, el("summary", {}, el("span", { className: "method " + method, textContent: method.toUpperCase() }), el("code", { textContent: path }), el("span", { textContent: op.summary || "" })), inside)); } }
}).catch((error) => { main.textContent = "The description could not be read: " + error.message; });
key.addEventListener("input", () => { for (const show of curls) show(); });`;
