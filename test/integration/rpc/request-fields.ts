/** Every field that a caller can set, read from the contract's descriptors, so that a table that lacks one can be told so. */
import { execFileSync } from 'node:child_process';
import { packageFile } from '../../../shared/package-files.js';

type Field = { name: string; type: string; typeName?: string };
type Message = { name: string; field?: Field[]; nestedType?: Message[] };
type Service = { name: string; method?: { name: string; inputType: string }[] };
type File = { package?: string; messageType?: Message[]; service?: Service[] };

/** "PortService/AllocatePorts wants.target.address" and so on: of every method of portlease, repeated fields once, in order. */
export function requestFields(): string[] {
  const image = execFileSync(packageFile('node_modules/.bin/buf'), ['build', '--as-file-descriptor-set', '-o', '-#format=json'], { cwd: packageFile(''), maxBuffer: 64 << 20 });
  const { file: files } = JSON.parse(image.toString()) as { file: File[] };
  const messages = new Map<string, Message>();
  for (const file of files) for (const message of file.messageType ?? []) index(messages, `.${file.package ?? ''}`, message);
  const fields: string[] = [];
  for (const { service } of files.filter((file) => file.package === 'portlease.v1')) {
    for (const { name, method } of service ?? []) {
      for (const { name: called, inputType } of method ?? []) fields.push(...fieldsOf(messages, inputType, '').map((field) => `${name}/${called} ${field}`));
    }
  }
  return fields;
}

function index(messages: Map<string, Message>, scope: string, message: Message): void {
  const name = `${scope}.${message.name}`;
  messages.set(name, message);
  for (const nested of message.nestedType ?? []) index(messages, name, nested);
}

/** Well-known types count as one field; messages of the contract as what is in them. */
function fieldsOf(messages: Map<string, Message>, type: string, prefix: string): string[] {
  return (messages.get(type)?.field ?? []).flatMap(({ name, typeName }) => {
    const isOurs = typeName?.startsWith('.portlease.') === true && messages.has(typeName) && !typeName.endsWith('Entry');
    return isOurs ? fieldsOf(messages, typeName, `${prefix}${name}.`) : [`${prefix}${name}`];
  });
}
