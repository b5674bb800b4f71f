/** Exit codes of `portlease`: part of its interface, listed by `portlease --help`. */
export const EXIT = {
  ok: 0,
  refused: 1,
  usage: 2,
  unreachable: 3,
  deadline: 4,
  internal: 5,
  interrupted: 130,
} as const;

export type ExitCode = (typeof EXIT)[keyof typeof EXIT];

export const EXIT_CODES_HELP = `Exit codes:
  0    done
  1    the coordinator refused, refused a part of a batch, a plan does not suffice, or DNS records are missing
  2    the command line or the config file is wrong; nothing was sent
  3    the coordinator cannot be reached
  4    the deadline passed (--timeout); what was recorded stays recorded
  5    a defect: the coordinator or this program failed
  130  interrupted (Ctrl-C); what was recorded stays recorded`;
