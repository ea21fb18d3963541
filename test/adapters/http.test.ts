import { suite } from './suite.js';

suite('http');
