/**
 * Server reflection. The descriptors come from `buf build`, whole and with all that they import: @grpc/reflection lists services from
 * a definition of proto-loader as well, but calls through it fail for want of the dependencies.
 */
import { BinaryReader } from '@bufbuild/protobuf/wire';
import type { Server } from '@grpc/grpc-js';
import { ReflectionService } from '@grpc/reflection';

/** `descriptors`: a serialized google.protobuf.FileDescriptorSet. */
export function addReflection(server: Server, descriptors: Uint8Array): void {
  const fileDescriptorProtos = filesOf(descriptors).map((bytes) => Buffer.from(bytes));
  new ReflectionService({ all: { format: 'Protocol Buffer 3 DescriptorProto', type: {}, fileDescriptorProtos } }).addToServer(server);
}

/** The single files of a set: its field 1, repeated. */
function filesOf(descriptors: Uint8Array): Uint8Array[] {
  const reader = new BinaryReader(descriptors);
  const files: Uint8Array[] = [];
  while (reader.pos < reader.len) {
    const [field, wireType] = reader.tag();
    if (field === 1) files.push(reader.bytes());
    else reader.skip(wireType, field);
  }
  return files;
}
