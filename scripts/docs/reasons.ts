/** docs/reasons.md: every reason of shared/reasons.ts, and of agent/tunnels/reasons.ts, for people. */
import { status } from '@grpc/grpc-js';
import { TUNNEL_REASONS } from '../../agent/tunnels/reasons.js';
import { REASONS } from '../../shared/reasons.js';

const HEAD = `# Why portlease refuses

Generated from shared/reasons.ts by \`npx tsx scripts/docs.ts\`.

An answer that is not OK carries \`google.rpc.Status\` in the trailer \`grpc-status-details-bin\`: an \`ErrorInfo\` with the reason, the domain
\`portlease\` and metadata (host, pool, port, figures); a \`BadRequest\` when a field of the request is at fault; a \`RetryInfo\` when the same
request may succeed later. Programs should decide by the reason; the message is for people and may change.

| reason | gRPC code | meaning | remedy |
|---|---|---|---|
`;

const TUNNELS = `
## Why a tunnel is not up

Generated from agent/tunnels/reasons.ts. The host says so of its tunnel; the message is the line of ssh's log that says so, or names file or process.

| reason | meaning | remedy |
|---|---|---|
`;

export function reasonsMarkdown(): string {
  const rows = Object.entries(REASONS).map(([reason, { code, meaning, remedy }]) => row([`\`${reason}\``, status[code], meaning, remedy]));
  const tunnelRows = Object.entries(TUNNEL_REASONS).map(([reason, { meaning, remedy }]) => row([`\`${reason}\``, meaning, remedy]));
  return HEAD + rows.join('') + TUNNELS + tunnelRows.join('');
}

function row(cells: readonly string[]): string {
  return `| ${cells.map((cell) => cell.replaceAll('|', '\\|')).join(' | ')} |\n`;
}
