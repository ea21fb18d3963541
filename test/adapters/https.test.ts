import { suite } from './suite.js';

suite('https');
