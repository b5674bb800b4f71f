// Mocha's spec reporter that also writes its counts, as JSON, to the file that the reporter option `file` names.
const { writeFileSync } = require('node:fs');
const { reporters, Runner } = require('mocha');

module.exports = class CountingReporter extends reporters.Spec {
  constructor(runner, options) {
    super(runner, options);
    runner.once(Runner.constants.EVENT_RUN_END, () => {
      const { passes, failures, pending } = runner.stats;
      writeFileSync(options.reporterOptions.file, JSON.stringify({ passed: passes, failed: failures, skipped: pending }));
    });
  }
};
