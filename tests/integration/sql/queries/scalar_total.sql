CREATE TABLE scalar_total (auction BIGINT, price BIGINT, dearest BIGINT) WITH (${sink});

INSERT INTO scalar_total
SELECT auction, price, (SELECT max(price) FROM bid)
FROM bid WHERE price > 80000000;
