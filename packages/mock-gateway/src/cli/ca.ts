/**
 * `openws-gateway ca`: the certificate of the gateway's authority, and how each kind of client is made to trust it.
 *
 * The certificate goes to standard output or a file; the recipes go to standard error, since a script wants the one and a
 * person the other. It changes nothing on the machine but the folder of the authority: who trusts it is the user's decision.
 */
import { writeFileSync } from "node:fs";
import { resolve } from "node:path";
import { caFile, keptAuthority, realHost } from "../tls.authority.ts";
import { defaultTlsFolder } from "../tls.ts";
import { readArgs, type Command } from "./usage.ts";

const help = `usage: openws-gateway ca [--out FILE] [--tls-dir DIR]

Prints the certificate that clients of "openws-gateway serve --tls" have to trust, and how they are told.

  --out FILE     writes it to a file instead of standard output
  --tls-dir DIR  where the authority is kept (default ${defaultTlsFolder()})
`;

export const ca: Command = async (args, env) => {
  const { values } = readArgs({
    args,
    options: { out: { type: "string" }, "tls-dir": { type: "string" }, help: { type: "boolean", short: "h" } },
  });
  if (values.help) {
    process.stdout.write(help);
    return 0;
  }
  const folder = values["tls-dir"] ?? env["OPENWS_GATEWAY_TLS_DIR"] ?? defaultTlsFolder(env);
  const { cert } = await keptAuthority(folder, Date.now());
  if (values.out === undefined) process.stdout.write(cert);
  else writeFileSync(values.out, cert);
  process.stderr.write(recipes(resolve(values.out ?? caFile(folder))));
  return 0;
};

/** How clients are made to trust the certificate in `file`. */
export const recipes = (file: string): string => {
  const quoted = `"${file}"`;
  return `The authority can vouch for 127.0.0.1, ::1, localhost and ${realHost} alone. Its certificate:
  ${file}

Node, Bun       NODE_EXTRA_CA_CERTS=${quoted} node bot.js
Deno            DENO_CERT=${quoted} deno run -N bot.ts
Go, Rust        SSL_CERT_FILE=${quoted} ./bot
                (it replaces the system's list; a Rust client built with webpki-roots reads no file at all)
Python          SSL_CERT_FILE=${quoted} python bot.py
                Libraries that load certifi, as the official SDK does, take it from that package; in the bot's own venv:
                python -c "import certifi; print(certifi.where())"      then append the certificate to that file:
                cat ${quoted} >> "$(python -c 'import certifi; print(certifi.where())')"
                undone by: pip install --force-reinstall certifi
Java            keytool -importcert -noprompt -alias openws-gateway -file ${quoted} -keystore openws.p12 -storetype PKCS12 -storepass changeit
                java -Djavax.net.ssl.trustStore=openws.p12 -Djavax.net.ssl.trustStorePassword=changeit -jar bot.jar

A client whose host is fixed to ${realHost}, on Linux and macOS:
  1. Send the name here:   echo '127.0.0.1 ${realHost} # openws-gateway' | sudo tee -a /etc/hosts
  2. Listen on its port:   openws-gateway --tls --listen 127.0.0.1:443
     (Linux, without root: sudo sysctl net.ipv4.ip_unprivileged_port_start=443, and back to 1024 afterwards)
  3. Let the client trust the certificate, as above.
  4. Afterwards remove it: sudo sed -i.bak '/# openws-gateway$/d' /etc/hosts
     Until then no program of this machine reaches the real gateway.
On Windows the file is C:\\Windows\\System32\\drivers\\etc\\hosts, and any port may be used.
`;
};
