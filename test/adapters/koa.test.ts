import { suite } from './suite.js';

suite('koa');
