/** JSON as the plain bot reads it: whatever is not there, or is not of its kind, is empty. */
import { broken } from "./defect.ts";

/** An object that came out of JSON.parse. */
export type Json = Readonly<Record<string, unknown>>;

/** JSON as the gateway sends it: sometimes with raw control characters inside strings, sometimes nothing of the kind. */
export function parse(text: string): Json | undefined {
  // eslint-disable-next-line no-control-regex -- these are what has to be repaired
  const repaired = broken("takes-control-characters-ill") ? text : text.replace(/[\u0000-\u001f]/g, " ");
  try {
    const value: unknown = JSON.parse(repaired);
    if (broken("dies-of-null")) void (value as Json)["cmd"];
    return isObject(value) ? value : undefined;
  } catch (error) {
    if (broken("dies-of-null") && repaired === "null") throw error;
    return undefined;
  }
}

/** A member that is an object, or an empty one. */
export function objectAt(json: Json, member: string): Json {
  const value = json[member];
  return isObject(value) ? value : {};
}

/** A member that is a list of objects, or an empty one. */
export function listAt(json: Json, member: string): Json[] {
  const value = json[member];
  return Array.isArray(value) ? value.filter(isObject) : [];
}

/** A member that is a string, or an empty one. */
export function stringAt(json: Json, member: string): string {
  const value = json[member];
  return typeof value === "string" ? value : "";
}

function isObject(value: unknown): value is Json {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}
