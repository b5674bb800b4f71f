/** docs/reasons.md: every reason of shared/reasons.ts for people. */
import { status } from '@grpc/grpc-js';
import { REASONS } from '../../shared/reasons.js';

const HEAD = `# Why portlease refuses

Generated from shared/reasons.ts by \`npx tsx scripts/docs.ts\`.

An answer that is not OK carries \`google.rpc.Status\` in the trailer \`grpc-status-details-bin\`: an \`ErrorInfo\` with the reason, the domain
\`portlease\` and metadata (host, pool, port, figures); a \`BadRequest\` when a field of the request is at fault; a \`RetryInfo\` when the same
request may succeed later. Programs should decide by the reason; the message is for people and may change.

| reason | gRPC code | meaning | remedy |
|---|---|---|---|
`;

export function reasonsMarkdown(): string {
  const rows = Object.entries(REASONS).map(([reason, { code, meaning, remedy }]) => row([`\`${reason}\``, status[code], meaning, remedy]));
  return HEAD + rows.join('');
}

function row(cells: readonly string[]): string {
  return `| ${cells.map((cell) => cell.replaceAll('|', '\\|')).join(' | ')} |\n`;
}
