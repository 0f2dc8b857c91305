import { defineStage } from '../../define.js';

export default defineStage({ bytes: (chunk) => chunk });
