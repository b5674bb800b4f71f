/** Refusals for names that no gateway knows. */
import { Refused } from '../keeper/refused.js';

export function unknownHost(host: string): Refused {
  return new Refused({ kind: 'refused', reason: 'HOST_UNKNOWN', message: `there is no host ${host}`, field: 'host', metadata: { host } });
}

export function unknownEnvironment(environment: string): Refused {
  return new Refused({ kind: 'refused', reason: 'ENVIRONMENT_UNKNOWN', message: `there is no environment ${environment}`, field: 'environment', metadata: { environment } });
}

export function unknownMapping(mapping: string): Refused {
  return new Refused({ kind: 'refused', reason: 'MAPPING_UNKNOWN', message: `there is no mapping ${mapping}, or it was released`, field: 'mapping_id', metadata: { mapping } });
}
