/** The smallest bot: it echoes, and pings nobody. For scenarios that need a process. */
import { Client } from "./client.ts";

const { WECOM_BOT_ID = "", WECOM_BOT_SECRET = "", WECOM_BOT_WS_URL = "" } = process.env;
const client = await Client.echo(WECOM_BOT_WS_URL, WECOM_BOT_ID, WECOM_BOT_SECRET);
await client.closed;
