/** `openws-gateway fault`: what is broken, breaking it, and mending it, while everything runs. */
import { readFault } from "../faults.ts";
import { Api, apiHelp, apiOptions } from "./api.ts";
import { readArgs, UsageError, type Command } from "./usage.ts";

const help = `usage: openws-gateway fault              lists what is armed
       openws-gateway fault SPEC…        arms faults, such as ack-drop:cmd=ping,times=2 (see FAULTS.md)
       openws-gateway fault --kinds      lists the kinds with an example each
       openws-gateway fault --remove ID  takes one away; --clear takes all away

${apiHelp}
`;

export const fault: Command = async (args, env) => {
  const { values, positionals } = readArgs({
    args,
    options: {
      ...apiOptions,
      kinds: { type: "boolean" },
      remove: { type: "string" },
      clear: { type: "boolean" },
    },
    allowPositionals: true,
  });
  if (values.help) {
    process.stdout.write(help);
    return 0;
  }
  const faults = positionals.map(read);
  const api = new Api(values, env);
  if (values.kinds) {
    const kinds = (await api.call("GET", "/faults/kinds")) as { kind: string; what: string; spec: string }[];
    for (const { what, spec } of kinds) process.stdout.write(`${spec}\n    ${what}\n`);
    return 0;
  }
  const armed = async (): Promise<Armed[]> => (await api.call("GET", "/faults")) as Armed[];
  if (values.remove !== undefined || values.clear) {
    const ids = values.remove === undefined ? (await armed()).map(({ id }) => id) : [values.remove];
    for (const id of ids) await api.call("DELETE", `/faults/${encodeURIComponent(id)}`);
    return 0;
  }
  const shown = faults.length === 0 ? await armed() : [];
  for (const spec of faults) shown.push((await api.call("POST", "/faults", spec)) as Armed);
  for (const one of shown) process.stdout.write(`${JSON.stringify(one)}\n`);
  return 0;
};

interface Armed {
  id: string;
}

const read = (spec: string) => {
  try {
    return readFault(spec);
  } catch (error) {
    throw new UsageError((error as Error).message, { cause: error });
  }
};
