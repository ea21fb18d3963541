import { suite } from './suite.js';

suite('fastify');
