-- Groups that are forgotten when no row has touched them for longer than the run lasts.
SET 'table.exec.state.ttl' = '1 d';
CREATE TABLE ttl_groups (auction BIGINT, n BIGINT, total BIGINT) WITH (${sink});

INSERT INTO ttl_groups
SELECT auction, count(*), sum(price) FROM bid GROUP BY auction;
