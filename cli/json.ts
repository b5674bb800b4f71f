/**
 * `--json`: one document with the field names of the JSON form of the contract (camelCase). Unlike the usual mapping, fields with a default
 * value are there too, so that a script need not guess, and 64-bit numbers are numbers. An enum that is unspecified, and a message
 * that is unset, are left out. Durations are texts in seconds ("1.5s"), points in time RFC 3339.
 */
type MessageType<T> = { toJSON(message: T): unknown };

/** Fields whose zero means "unspecified", not 0. */
const ENUM_FIELDS = new Set(['protocol', 'state', 'agentState', 'scope', 'strategy', 'idleAction', 'onConflict', 'tls', 'mappingState', 'status', 'direction', 'engine']);

export function jsonOf<T extends object>(type: MessageType<T>, message: T): Record<string, unknown> {
  return complete(message, type.toJSON(message)) as Record<string, unknown>;
}

export function jsonText(document: unknown): string {
  return `${JSON.stringify(document, undefined, 2)}\n`;
}

function complete(value: unknown, json: unknown): unknown {
  if (typeof json === 'string') return json;
  if (Array.isArray(value)) return value.map((element, i) => complete(element, (json as unknown[])[i]));
  if (!isObject(value)) return json ?? value;
  if (isDuration(value)) return `${value.seconds + value.nanos / 1e9}s`;
  const result: Record<string, unknown> = { ...(json as object | undefined) };
  for (const [field, inner] of Object.entries(value)) {
    if (inner === undefined || isOneof(inner)) continue;
    if (inner === 0 && ENUM_FIELDS.has(field)) continue;
    result[field] = complete(inner, result[field]);
  }
  return result;
}

function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null;
}

function isDuration(value: Record<string, unknown>): value is { seconds: number; nanos: number } {
  return Object.keys(value).length === 2 && typeof value['seconds'] === 'number' && typeof value['nanos'] === 'number';
}

function isOneof(value: unknown): boolean {
  return isObject(value) && '$case' in value;
}
