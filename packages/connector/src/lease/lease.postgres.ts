/**
 * The lease as a row of PostgreSQL. Decides the table, which is made at the first use where it is not there. A row, not an
 * advisory lock: a lock lives as long as a session, which says nothing of how long its holder may go on without it.
 *
 * Invariant: each question is one statement, so no transaction of a process that stands still keeps others out.
 */
import type { Pool as PostgresPool } from "pg";
import type { LeasePlace } from "./lease.ts";

const createTable = "CREATE TABLE IF NOT EXISTS openws_lease (name text PRIMARY KEY, record text NOT NULL)";
/** PostgreSQL's code for a table that is not there. */
const undefinedTable = "42P01";

/** The lease `name` in the database at `url`; it is connected to when it is first asked. */
export function postgresLease({ Pool }: { readonly Pool: typeof PostgresPool }, url: string, name: string): LeasePlace {
  const pool = new Pool({
    connectionString: url,
    application_name: "openws-connector lease",
    max: 2,
    connectionTimeoutMillis: 2_000,
    query_timeout: 5_000,
    allowExitOnIdle: true,
  });
  // A connection that breaks while nobody asks; who asks next is told.
  pool.on("error", () => undefined);
  const ask = async (sql: string, values: string[]): Promise<{ count: number; record: string | undefined }> => {
    try {
      const { rows, rowCount } = await pool.query<{ record?: string }>(sql, values);
      return { count: rowCount ?? 0, record: rows[0]?.record };
    } catch (error) {
      if ((error as { code?: string }).code !== undefinedTable)
        throw new Error(`PostgreSQL: ${said(error)}`, { cause: error });
      // Where others make it at the same time one of them fails; what is asked next finds it.
      await pool.query(createTable);
      return ask(sql, values);
    }
  };
  return {
    read: async () => (await ask("SELECT record FROM openws_lease WHERE name = $1", [name])).record,
    swap: async (expected, next) => {
      const { count } =
        expected === undefined
          ? await ask("INSERT INTO openws_lease (name, record) VALUES ($1, $2) ON CONFLICT DO NOTHING", [name, next])
          : await ask("UPDATE openws_lease SET record = $3 WHERE name = $1 AND record = $2", [name, expected, next]);
      return count === 1;
    },
    close: () => pool.end(),
  };
}

/** Several addresses that all fail are one error without a text. */
function said(error: unknown): string {
  const { message, errors, code } = error as Error & { errors?: readonly Error[]; code?: string };
  return message || errors?.[0]?.message || code || String(error);
}
