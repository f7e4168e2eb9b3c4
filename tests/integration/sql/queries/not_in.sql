CREATE TABLE not_in (id BIGINT, category BIGINT) WITH (${sink});

INSERT INTO not_in
SELECT id, category FROM auction
WHERE MOD(id, 10) = 3
    AND id NOT IN (SELECT auction FROM bid WHERE price > 5000000)
    AND (CASE WHEN MOD(id, 20) = 3 THEN id END) NOT IN (SELECT bidder FROM bid WHERE price > 50000000);
