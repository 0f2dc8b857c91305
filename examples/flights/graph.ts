/** Written by `podline graph pipeline.yaml`: columns that do not fit from stage to stage do not compile. Nothing runs it. */
import { checkGraph } from 'podline';
import aggregate from './aggregate.js';
import airports from './airports.js';
import clean from './clean.js';
import features from './features.js';
import report from './report.js';

export default checkGraph({
  input: {
    date: 'timestamp[ms]',
    delay: 'int16',
    distance: 'int16',
    origin: 'dictionary',
    destination: 'dictionary',
  },
  stages: {
    clean: { stage: clean },
    airports: { stage: airports, after: ['clean'] },
    features: { stage: features, after: ['clean'] },
    aggregate: { stage: aggregate, after: ['airports', 'features'] },
    report: { stage: report, after: ['aggregate'] },
  },
});
