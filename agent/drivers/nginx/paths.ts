/** Files of portlease's own nginx. */
import { join } from 'node:path';

export type NginxPaths = ReturnType<typeof pathsIn>;

export function pathsIn(directory: string) {
  return {
    directory,
    main: join(directory, 'nginx.conf'),
    routes: join(directory, 'routes'),
    /** One file for each config that was written, by its number: nginx keeps it open as a log, so /proc tells which config a process runs. */
    marks: join(directory, 'marks'),
    /** What those configs lead where. */
    states: join(directory, 'states'),
    /** Copies of the operator's certificates with their keys, by what is in them: nginx never sees one that does not work. */
    certificates: join(directory, 'certificates'),
    logs: join(directory, 'logs'),
    errorLog: join(directory, 'logs', 'error.log'),
    /** A line of JSON for each connection that has ended. */
    accessLog: join(directory, 'logs', 'access.log'),
    pid: join(directory, 'nginx.pid'),
    mark: (serial: number): string => join(directory, 'marks', String(serial)),
    state: (serial: number): string => join(directory, 'states', `${serial}.json`),
  };
}
